"""A remote file reads as a local one does, in blocks."""

from __future__ import annotations

import io

import numpy as np
import pytest

from index import remote_file
from index.files import open_file, write_atomic


def test_a_remote_file_reads_as_a_local_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_file, "_FIRST_BLOCK", 100)
    monkeypatch.setattr(remote_file, "_LARGEST_BLOCK", 1000)
    data = np.random.default_rng(0).bytes(10_000)
    path = "memory://test_remote_file/a"
    write_atomic(path, data)
    with open_file(path) as stream:
        assert stream.read(5) == data[:5]
        assert stream.read(3000) == data[5:3005]
        assert stream.seek(-7, io.SEEK_END) == 9993
        assert stream.read() == data[-7:]
        assert stream.read(1) == b""
        assert stream.seek(50) == stream.tell() == 50
        assert stream.read(20_000) == data[50:]
        with pytest.raises(ValueError, match="cannot seek"):
            stream.seek(-20_000, io.SEEK_CUR)
    sink = io.BytesIO()
    blocks: list[bytes] = []
    remote_file.copy_remote(path, 9_999, sink, blocks.append)
    assert sink.getvalue() == b"".join(blocks) == data[:9_999]
    assert len(blocks) == 10


def test_lines_of_a_remote_text_and_missing_files() -> None:
    write_atomic("memory://test_remote_file/text", "é\nb\n")
    with open_file("memory://test_remote_file/text", "r") as stream:
        assert list(stream) == ["é\n", "b\n"]
    with pytest.raises(FileNotFoundError):
        open_file("memory://test_remote_file/none")
