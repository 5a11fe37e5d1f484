from __future__ import annotations

import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput
from mining.sets.part_files import PartFiles


@pytest.fixture
def files(tmp_path: Path) -> PartFiles:
    """a.parquet: 5,000 rows of incompressible text in row groups of 1,000."""
    table = pa.table({"text": [os.urandom(20).hex() for _ in range(5_000)], "number": range(5_000)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1_000, compression="zstd")
    return PartFiles(str(tmp_path), "write it again")


def test_columns_are_read_of_the_whole_file_or_of_one_row_group(files: PartFiles) -> None:
    assert (files.rows("a.parquet"), files.row_groups("a.parquet")) == (5_000, 5)
    assert files.read("a.parquet", ["number"]).num_rows == 5_000
    assert files.read("a.parquet", ["number"], 3)["number"].to_pylist() == list(range(3_000, 4_000))
    again = pickle.loads(pickle.dumps(files))
    assert again.read("a.parquet", ["number"], 4)["number"][0].as_py() == 4_000


def test_what_is_not_there_is_named_with_the_remedy(files: PartFiles) -> None:
    with pytest.raises(BadInput, match=r"b.parquet: missing or damaged \(no such file\); write it again"):
        files.rows("b.parquet")
    with pytest.raises(BadInput, match=r"a.parquet: missing or damaged \(has no column colour\); write it again"):
        files.read("a.parquet", ["number", "colour"])
    with pytest.raises(BadInput, match=r"a.parquet: missing or damaged .*; write it again"):
        files.read("a.parquet", ["number"], 5)
    with pytest.raises(BadInput, match="leaves its folder"):
        files.rows("../a.parquet")


def test_a_file_that_is_cut_overwritten_or_has_damaged_pages_is_named(files: PartFiles, tmp_path: Path) -> None:
    whole = (tmp_path / "a.parquet").read_bytes()
    for broken in (whole[:-20], b"", b"no Parquet at all", whole[:4] + bytes(60_000) + whole[60_004:]):
        (tmp_path / "b.parquet").write_bytes(broken)
        with pytest.raises(BadInput, match=r"b.parquet: missing or damaged .*; write it again"):
            PartFiles(str(tmp_path), "write it again").read("b.parquet", ["text", "number"])


def test_a_folder_of_an_object_store_is_read_alike() -> None:
    from index.files import write_atomic

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    write_atomic("memory://parts/a.parquet", sink.getvalue().to_pybytes())
    files = PartFiles("memory://parts", "write it again")
    assert files.read("a.parquet", ["a"])["a"].to_pylist() == [1, 2]
    with pytest.raises(BadInput, match="no such file"):
        files.rows("b.parquet")
