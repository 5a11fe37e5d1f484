"""Lists that a user passes: comments, empty lines, standard input, and what is no list."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from index.errors import BadInput
from jobs.lists import read_lines, read_numbers


def test_empty_lines_and_comments_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("# ours\r\nfirst\r\n\r\n  # indented\r\nsecond # not a comment\r\nüber\r\n".encode())
    assert read_lines(str(path)) == ["first", "second # not a comment", "über"]


def test_a_minus_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"# rows\n12\n7\n")))
    assert read_numbers("-") == [12, 7]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; write one key a line"),
        (b"# only a comment\n", "is empty; write one key a line"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (None, "there is no such file"),
    ],
)
def test_what_is_no_list_is_said(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=said) as caught:
        read_lines(str(path), "key")
    assert str(path) in str(caught.value)


def test_a_folder_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no such file"):
        read_lines(str(tmp_path))


def test_the_first_line_that_is_no_row_id_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("4\n 5 \nfive\nsix\n")
    with pytest.raises(BadInput, match="'five' is not a row id"):
        read_numbers(str(tmp_path / "rows.txt"))
