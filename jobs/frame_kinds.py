"""Data frames of Spark, Ray Data, pandas, Polars, DuckDB and Arrow as one kind of input: `open_frame`.

Frames are told apart by their types' modules and by Arrow's C stream interface, and only public functions of theirs are
used, so a frame of Spark Connect serves like one of classic Spark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from index.errors import BadInput, ClipmineError
from index.files import atomic_file, is_local, join, local_path

__all__ = ["Content", "Frame", "is_connect", "is_frame", "open_frame", "spark_errors", "spark_path", "spark_schema"]

# Sums of hashes modulo this do not overflow 64 bits below four billion rows.
_HASHES = 1 << 31
_BATCH_ROWS = 65_536
# Schemes of URLs by which Hadoop knows the object stores of fsspec.
_HADOOP_SCHEMES = {"s3": "s3a", "gcs": "gs"}


@dataclass(frozen=True)
class Content:
    """What tells the rows of two frames apart, in any order for Spark. checksum: None where it is not computed."""

    rows: int
    checksum: str | None


class Frame(Protocol):
    """What is asked of a frame of any kind."""

    @property
    def names(self) -> list[str]: ...

    def schema(self, names: Sequence[str]) -> pa.Schema: ...

    def content(self, names: Sequence[str]) -> Content: ...

    def write(self, names: Sequence[str], folder: str) -> Content: ...

    def column(self, name: str) -> pa.ChunkedArray: ...


def is_frame(value: object) -> bool:
    """Whether a value is a data frame, and no path."""
    return _is_spark(value) or _is_ray(value) or hasattr(value, "__arrow_c_stream__")


def is_connect(value: object) -> bool:
    """Whether a frame or a session of Spark belongs to Spark Connect, where this process is a client without Java."""
    return any(base.__module__.startswith("pyspark.sql.connect.") for base in type(value).__mro__)


def open_frame(frame: Any) -> Frame:
    """A frame as what is asked of it. Raises BadInput for what is no frame or no table of Arrow, and for a stream."""
    if _is_spark(frame):
        return SparkFrame(frame)
    if _is_ray(frame):
        return RayFrame(frame)
    if not is_frame(frame):
        raise BadInput(f"{type(frame).__name__}: give a data frame of Spark, Ray Data, pandas, Polars or Arrow")
    try:
        return ArrowFrame(pa.table(frame))
    except (pa.ArrowException, ValueError, TypeError) as error:  # as of a pandas column of numbers and texts
        reason = " ".join("; ".join(map(str, error.args)).split())
        raise BadInput(
            f"the {type(frame).__name__} is no Arrow table ({reason:.300}); give each column one type and its own name"
        ) from error


def spark_path(path: str) -> str:
    """A path or URL as Spark reads it, whatever its default file system: file:///shared/x, s3a://bucket/x."""
    if is_local(path):
        return f"file://{local_path(path).absolute()}"
    scheme, mark, rest = path.partition("://")
    return f"{_HADOOP_SCHEMES.get(scheme, scheme)}{mark}{rest}"


def spark_schema(spark: Any, schema: pa.Schema) -> Any:
    """A schema in Spark's types."""
    row = pa.table([pa.nulls(1, field.type) for field in schema], schema=schema)  # Spark Connect refuses an empty table
    return spark.createDataFrame(row).schema


@contextmanager
def spark_errors(what: str) -> Iterator[None]:
    """An error of Spark as one line that begins with `what`."""
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ClipmineError(f"{what}: Spark stopped: {(lines or [type(error).__name__])[0]:.500}") from error


def _is_spark(value: object) -> bool:
    kind = type(value)
    return kind.__module__.startswith("pyspark.sql.") and kind.__name__ == "DataFrame"


def _is_ray(value: object) -> bool:
    return type(value).__module__.startswith("ray.data.") and hasattr(value, "write_parquet")


class SparkFrame:
    """A frame of Spark, classic or Connect."""

    def __init__(self, frame: Any) -> None:
        if frame.isStreaming:
            raise BadInput("the frame is a stream; give a frame of rows that are there")
        self._frame = frame

    @property
    def names(self) -> list[str]:
        return list(self._frame.columns)

    def schema(self, names: Sequence[str]) -> pa.Schema:
        with spark_errors("the frame"):
            return self._chosen(names).limit(0).toArrow().schema

    def content(self, names: Sequence[str]) -> Content:
        with spark_errors("the frame"):
            rows, total = self._chosen(names).agg(*self._sums(names)).first()
        return Content(rows, f"{total or 0:x}")

    def write(self, names: Sequence[str], folder: str) -> Content:
        from pyspark.sql import Observation

        seen = Observation()
        with spark_errors("the frame"):
            observed = self._chosen(names).observe(seen, *self._sums(names))
            observed.write.mode("overwrite").parquet(spark_path(folder))
            found = seen.get
        return Content(found["rows"], f"{found['total'] or 0:x}")

    def column(self, name: str) -> pa.ChunkedArray:
        with spark_errors("the frame"):
            return self._chosen([name]).toArrow()[name]

    def _chosen(self, names: Sequence[str]) -> Any:
        from pyspark.sql import functions

        return self._frame.select(*(functions.col(_quoted(name)) for name in names))

    def _sums(self, names: Sequence[str]) -> list[Any]:
        from pyspark.sql import functions

        hashes = functions.expr(f"sum(pmod(xxhash64({', '.join(map(_quoted, names))}), {_HASHES}L))")
        return [functions.expr("count(1)").alias("rows"), hashes.alias("total")]


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


class RayFrame:
    """A data set of Ray Data; two are told apart by their numbers of rows."""

    def __init__(self, frame: Any) -> None:
        self._frame, self._schema = frame, frame.schema()

    @property
    def names(self) -> list[str]:
        return list(self._schema.names) if self._schema is not None else []

    def schema(self, names: Sequence[str]) -> pa.Schema:
        types = dict(zip(self._schema.names, self._schema.types, strict=True))
        return pa.schema([(name, types[name]) for name in names])

    def content(self, names: Sequence[str]) -> Content:
        return Content(self._frame.count(), None)

    def write(self, names: Sequence[str], folder: str) -> Content:
        self._frame.select_columns(list(names)).write_parquet(folder)
        return self.content(names)

    def column(self, name: str) -> pa.ChunkedArray:
        tables = [pa.table(batch) for batch in self._frame.select_columns([name]).iter_batches(batch_format="pyarrow")]
        return pa.concat_tables(tables)[name] if tables else pa.chunked_array([], self.schema([name]).field(name).type)


class ArrowFrame:
    """A frame in the memory of this process."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def names(self) -> list[str]:
        return list(self._table.column_names)

    def schema(self, names: Sequence[str]) -> pa.Schema:
        return self._table.select(list(names)).schema

    def content(self, names: Sequence[str]) -> Content:
        sums = hashlib.sha256()
        for batch in self._table.select(list(names)).to_batches(max_chunksize=_BATCH_ROWS):
            for row in batch.to_pylist():
                sums.update(repr(list(row.values())).encode("utf-8", "surrogatepass"))
        return Content(self._table.num_rows, sums.hexdigest())

    def write(self, names: Sequence[str], folder: str) -> Content:
        with atomic_file(join(folder, "part-00000.parquet")) as partial:
            pq.write_table(self._table.select(list(names)).replace_schema_metadata(), partial)
        return self.content(names)

    def column(self, name: str) -> pa.ChunkedArray:
        return self._table[name]
