"""Tests of `index.parquet`: what is read, and that no thread of Arrow reads a Python file."""

import io
import threading
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from index import parquet
from index.parquet import native_file, open_parquet, read_parquet

TABLE = pa.table({"number": list(range(5_000)), "word": [str(number) for number in range(5_000)]})


@pytest.fixture
def remote() -> str:
    """The URL of a file of several row groups, in memory."""
    url = "memory://test_parquet/table.parquet"
    with fsspec.open(url, "wb") as stream:
        pq.write_table(TABLE, stream, row_group_size=500)
    return url


class _Watched(io.BytesIO):
    """Notes which threads read it."""

    threads: set[int]

    def read(self, size: int | None = -1) -> bytes:
        self.threads.add(threading.get_ident())
        return super().read(size)


def _watch(monkeypatch: pytest.MonkeyPatch, url: str) -> set[int]:
    seen: set[int] = set()
    data = fsspec.open(url, "rb").open().read()

    def opened(path: Any) -> _Watched:
        stream = _Watched(data)
        stream.threads = seen
        return stream

    monkeypatch.setattr(parquet, "open_file", opened)
    return seen


def test_a_remote_file_is_read_in_the_thread_that_asks(monkeypatch: pytest.MonkeyPatch, remote: str) -> None:
    seen = _watch(monkeypatch, remote)
    assert read_parquet(remote).equals(TABLE)
    assert read_parquet(remote, ["word"]).equals(TABLE.select(["word"]))
    with open_parquet(remote) as file:
        assert pa.Table.from_batches(file.iter_batches(700)).equals(TABLE)
        assert file.read_row_group(1).equals(TABLE.slice(500, 500))
        assert file.read_row_groups([0, 1], ["number"]).num_rows == 1_000
    assert seen == {threading.get_ident()}


def test_a_local_file_is_no_python_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parquet, "open_file", None)
    pq.write_table(TABLE, tmp_path / "table.parquet")
    assert read_parquet(tmp_path / "table.parquet").equals(TABLE)


def test_a_folder_named_like_a_partition_is_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "lr=1"
    folder.mkdir()
    pq.write_table(TABLE, folder / "table.parquet")
    assert read_parquet(folder / "table.parquet").column_names == ["number", "word"]


def test_csv_is_read_by_arrow_itself(tmp_path: Path) -> None:
    text = b"number,word\n1,one\n2,two\n"
    (tmp_path / "table.csv").write_bytes(text)
    with fsspec.open("memory://test_parquet/table.csv", "wb") as stream:
        stream.write(text)
    for path in (tmp_path / "table.csv", "memory://test_parquet/table.csv"):
        with native_file(path) as file:
            assert type(file) is pa.OSFile
            assert pa_csv.read_csv(file).to_pydict() == {"number": [1, 2], "word": ["one", "two"]}


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_parquet(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no Parquet at all")
    with pytest.raises(pa.ArrowInvalid):
        read_parquet(tmp_path / "text.parquet")
    pq.write_table(TABLE, tmp_path / "table.parquet")
    with pytest.raises(pa.ArrowInvalid, match="no column other"):
        read_parquet(tmp_path / "table.parquet", ["number", "other"])
