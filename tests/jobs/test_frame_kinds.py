"""What counts as a frame, and how Spark is told where files are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from index.errors import BadInput
from jobs.frame_kinds import is_connect, is_frame, open_frame, spark_path


class OfConnect:
    """A frame as Spark Connect makes them, by the module of its type."""


OfConnect.__module__, OfConnect.__name__ = "pyspark.sql.connect.dataframe", "DataFrame"


def test_frames_are_told_from_paths(spark_session: Any) -> None:
    frame = spark_session.range(3)
    assert all(is_frame(each) for each in (frame, pd.DataFrame({"a": [1]}), pa.table({"a": [1]}), OfConnect()))
    assert not any(is_frame(each) for each in ("urls.parquet", Path("urls.parquet"), ["urls.parquet"], None))
    assert is_connect(OfConnect())
    assert not is_connect(frame)
    with pytest.raises(BadInput, match="list: give a data frame of Spark"):
        open_frame([1])


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (pd.DataFrame({"a": [1, "b"]}), "'b' with type str.*column a"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "Duplicate column names"),
        (pa.chunked_array([[1]]), "ChunkedArray is no Arrow table"),
    ],
)
def test_a_frame_that_is_no_arrow_table_is_an_error_of_one_line(frame: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        open_frame(frame)
    assert "\n" not in str(refused.value)


def test_a_column_of_any_name_is_read(spark_session: Any) -> None:
    frame = spark_session.range(3).selectExpr("id as `a.b``c`")
    assert sorted(open_frame(frame).column("a.b`c").to_pylist()) == [0, 1, 2]


def test_spark_is_told_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert spark_path("out/table") == f"file://{tmp_path}/out/table"
    assert spark_path("file:///shared/x") == "file:///shared/x"
    assert spark_path("s3://bucket/x") == "s3a://bucket/x"
    assert spark_path("gcs://bucket/x") == "gs://bucket/x"
    assert spark_path("hdfs://host/x") == "hdfs://host/x"
