"""Search results and selections as pandas data frames. pandas is optional: it is imported when a frame is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from index.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["frame_of_rows", "frame_of_table"]


def frame_of_table(table: pa.Table) -> pd.DataFrame:
    """An Arrow table as a data frame, column by column. Raises BadInput when pandas is not installed."""
    _import_pandas()
    frame: pd.DataFrame = table.to_pandas()
    return frame


def frame_of_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Dicts as a data frame: `columns` first, in this order (all of them, also when there are no rows), then others.

    Raises BadInput when pandas is not installed.
    """
    names = dict.fromkeys([*columns, *(name for row in rows for name in row)])
    frame: pd.DataFrame = _import_pandas().DataFrame.from_records(list(rows), columns=list(names))
    return frame


def _import_pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise BadInput("data frames need pandas, which is not installed: pip install pandas") from error
    return pandas
