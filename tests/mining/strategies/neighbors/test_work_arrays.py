"""Arrays and tables in the working folder come back as they were; a damaged file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from index.errors import StoreInvalid
from mining.strategies.context import MiningConfig, MiningContext
from mining.strategies.neighbors.work_arrays import (
    has_arrays,
    read_array,
    read_arrays,
    read_table,
    write_array,
    write_arrays,
    write_table,
)


def test_arrays_come_back(tmp_path: Path) -> None:
    ctx = MiningContext(MiningConfig("", "", ()), "similar", 1, str(tmp_path))
    assert not has_arrays(ctx, "some.npz")
    write_array(ctx, "one.npy", np.arange(3))
    write_arrays(ctx, "some.npz", ids=np.arange(2), scores=np.ones((2, 2)))
    assert has_arrays(ctx, "some.npz")
    assert read_array(ctx, "one.npy").tolist() == [0, 1, 2]
    assert {name: each.shape for name, each in read_arrays(ctx, "some.npz").items()} == {"ids": (2,), "scores": (2, 2)}


def test_tables_come_back(tmp_path: Path) -> None:
    ctx = MiningContext(MiningConfig("", "", ()), "groups", 1, str(tmp_path))
    table = pa.table({"nouns": pa.array([["dog"], []], pa.list_(pa.string()))})
    write_table(ctx, "some.parquet", table)
    assert has_arrays(ctx, "some.parquet")
    assert read_table(ctx, "some.parquet", table.schema).equals(table)


def test_a_damaged_file_says_what_to_delete(tmp_path: Path) -> None:
    ctx = MiningContext(MiningConfig("", "", ()), "similar", 1, str(tmp_path))
    (tmp_path / "some.npz").write_bytes(b"PK not a zip")
    with pytest.raises(StoreInvalid, match="is damaged; delete"):
        read_arrays(ctx, "some.npz")
