"""Reading the Parquet files of a folder of image sets: by column or by row group, with damage reported in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from index.errors import BadInput
from index.files import join, join_inside
from index.parquet import open_parquet
from mining.sets.recent import Recent

__all__ = ["PartFiles"]

# Footers kept parsed: parsing one takes 1 ms, 0.1 MB each.
_KEPT_FOOTERS = 64


class PartFiles:
    """The files of one folder by their relative names. Safe for threads; pickled without the footers that it keeps."""

    def __init__(self, folder: str, remedy: str) -> None:
        """remedy: what the error about a damaged file says to do."""
        self.folder, self.remedy = folder, remedy
        self._footers = Recent[str, Any](_KEPT_FOOTERS)

    def __reduce__(self) -> Any:
        return PartFiles, (self.folder, self.remedy)

    def rows(self, name: str) -> int:
        """The rows of a file. Raises BadInput where it is missing or damaged."""
        with self._open(name) as file:
            return int(file.metadata.num_rows)

    def row_groups(self, name: str) -> int:
        """The row groups of a file. Raises BadInput where it is missing or damaged."""
        with self._open(name) as file:
            return int(file.metadata.num_row_groups)

    def read(self, name: str, columns: Sequence[str], group: int | None = None) -> pa.Table:
        """These columns of a file, or of one of its row groups. Raises BadInput where it is missing or damaged."""
        with self._open(name) as file:
            known = set(file.schema_arrow.names)
            for column in columns:
                if column.partition(".")[0] not in known:  # a dot leads into a nested column
                    raise self.damaged(name, f"has no column {column}")
            if group is None:
                return file.read(list(columns))
            # A row group is decoded in half a millisecond; handing its columns to threads takes longer than that.
            return file.read_row_group(group, list(columns), use_threads=False)

    def damaged(self, name: str, what: str) -> BadInput:
        """The error about a file."""
        return BadInput(f"{join(self.folder, name)}: missing or damaged ({what}); {self.remedy}")

    def _footer(self, name: str) -> Any:
        with open_parquet(join_inside(self.folder, name)) as file:
            return file.metadata

    @contextmanager
    def _open(self, name: str) -> Iterator[pq.ParquetFile]:
        try:
            with open_parquet(
                join_inside(self.folder, name), self._footers.get(name, lambda: self._footer(name))
            ) as file:
                yield file
        except FileNotFoundError as error:
            raise self.damaged(name, "no such file") from error
        except (pa.ArrowException, IndexError) as error:
            raise self.damaged(name, str(error).splitlines()[0]) from error
        except OSError as error:
            # Arrow reports bytes that it cannot decompress as an OSError without a number.
            if error.errno is not None:
                raise
            raise self.damaged(name, str(error).splitlines()[0]) from error
