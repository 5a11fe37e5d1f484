"""Files of JSON lines that are appended to."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from index.errors import BadInput, ClipmineError, DiskFull
from mining.annotate.line_file import LineFile, whole_lines


def test_lines_are_in_the_file_at_once_and_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lines.jsonl"
    with LineFile(path) as file:
        places = [file.append({"number": number, "text": "é\ud800\n"}) for number in range(3)]
        assert len(path.read_bytes().splitlines()) == 3
        assert json.loads(file.read(*places[1]))["number"] == 1
    assert [offset for offset, _ in whole_lines(path)] == [offset for offset, _ in places]
    assert [len(line) for _, line in whole_lines(path)] == [length for _, length in places]


@pytest.mark.parametrize("cut", [b'{"number": 2', b'{"number": 2}', b"x" * 200_000])
def test_a_last_line_that_was_cut_short_is_skipped_and_removed(tmp_path: Path, cut: bytes) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"number": 1}\n' + cut)
    assert [line for _, line in whole_lines(path)] == [b'{"number": 1}']
    with LineFile(path) as file:
        assert file.append({"number": 3}) == (14, 13)
    assert path.read_bytes() == b'{"number": 1}\n{"number": 3}\n'


def test_a_file_that_is_not_there_has_no_lines_and_one_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    assert list(whole_lines(tmp_path / "none.jsonl")) == []
    with pytest.raises(BadInput, match="cannot be read"):
        list(whole_lines(tmp_path))


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "lines.jsonl")
    file.append({"number": 1})
    write = os.write
    calls = []

    def short(descriptor: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) == 1:
            return write(descriptor, data[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(DiskFull, match="no space left"):
        file.append({"number": 2})
    monkeypatch.undo()
    file.append({"number": 3})
    file.close()
    file.close()
    assert [json.loads(line)["number"] for _, line in whole_lines(tmp_path / "lines.jsonl")] == [1, 3]


def test_an_error_of_the_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with LineFile(tmp_path / "lines.jsonl") as file:
        for name, act in (("write", lambda: file.append({"number": 1})), ("fsync", file.sync)):
            with monkeypatch.context() as patch:
                patch.setattr(os, name, broken)
                with pytest.raises(ClipmineError, match=r"lines\.jsonl: cannot be written \(Input/output error\)"):
                    act()
