from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa
import pytest

from index.errors import BadInput
from retrieval.data_frames import frame_of_rows, frame_of_table


def test_a_table_keeps_its_columns_and_values() -> None:
    frame = frame_of_table(pa.table({"key": ["a", None], "row_id": [1, 2]}))
    assert list(frame.columns) == ["key", "row_id"]
    assert frame["row_id"].tolist() == [1, 2]
    assert frame["key"].isna().tolist() == [False, True]


def test_rows_begin_with_the_named_columns_and_keep_the_others() -> None:
    rows: list[dict[str, Any]] = [{"key": "a", "row_id": 1}, {"row_id": 2, "width": 3}]
    frame = frame_of_rows(rows, ["row_id", "score"])
    assert list(frame.columns) == ["row_id", "score", "key", "width"]
    assert frame["row_id"].tolist() == [1, 2]
    assert frame["key"].tolist()[0] == "a"
    assert list(frame_of_rows([], ["row_id"]).columns) == ["row_id"]


def test_without_pandas_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)  # as Python marks a module that cannot be imported
    with pytest.raises(BadInput, match="pip install pandas"):
        frame_of_rows([], ["row_id"])
    with pytest.raises(BadInput, match="pip install pandas"):
        frame_of_table(pa.table({}))
