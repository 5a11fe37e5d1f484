"""Lines that are only appended: what a crash leaves behind, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from index.errors import BadInput
from mining.sets.appended_lines import append_line, read_lines


def parse(line: bytes) -> int:
    return int(line)


def read(path: Path) -> tuple[list[int], tuple[str, ...]]:
    return read_lines(path, parse, "a number", "delete the line")


def test_lines_come_back_in_the_order_of_writing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lines"
    for line in ("3", "1", "2"):
        append_line(path, line, parse)
    assert read(path) == ([3, 1, 2], ())
    assert path.read_text() == "3\n1\n2\n"


def test_a_last_line_that_was_cut_short_is_skipped_and_then_removed(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("3\n\n4x")
    assert read(path) == ([3], (f"{path}: its last line was cut short and is skipped",))
    append_line(path, "5", parse)
    assert read(path) == ([3, 5], ())


def test_a_whole_last_line_gets_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("3\n4")
    assert read(path) == ([3, 4], ())
    append_line(path, "5", parse)
    assert path.read_text() == "3\n4\n5\n"


def test_another_broken_line_is_named_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("3\n\n4x\n5\n")
    with pytest.raises(BadInput, match=r"lines, line 3: is not a number \(invalid literal .*\); delete the line"):
        read(path)


def test_a_line_that_is_nested_deeply_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("[" * 100_000 + "\n3\n")
    with pytest.raises(BadInput, match=r"lines, line 1: is not a number"):
        read_lines(path, json.loads, "a number", "delete the line")
