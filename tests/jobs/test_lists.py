"""Lists that a user passes: comments, empty lines, standard input, what spreadsheets save, and what is no list."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from index.errors import BadInput
from jobs.lists import KEYS, SHA256, URLS, Column, ListKind, read_column, read_lines, read_numbers

SUM = "9f" * 32


def test_empty_lines_and_comments_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes("# ours\r\nfirst\r\n\r\n  # indented\r\nsecond # not a comment\r\nüber\r\n".encode())
    assert read_lines(str(path)) == ["first", "second # not a comment", "über"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf0001\r\n0002\r\n",  # as Windows' programs save UTF-8
        "0001\r\n0002\r\n".encode("utf-16"),  # a spreadsheet's "Unicode text"
        b"\xfe\xff" + "0001\n0002".encode("utf-16-be"),
        b"0001 \n\t0002\xc2\xa0\n",  # blanks, a tab and a no-break space at the ends
        b"0001\r0002\r",
        b"0001\n\xef\xbb\xbf0002\n",  # two files joined
    ],
)
def test_marks_line_ends_and_outer_blanks_are_no_part_of_an_entry(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    assert read_lines(str(path)) == ["0001", "0002"]
    assert read_column(str(path), KEYS).entries == ("0001", "0002")
    assert read_numbers(str(path)) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "content", "column"),
    [
        (KEYS, 'key\n"0001"\n0002\n0001\n', Column(("0001", "0002"), "key", 1)),
        (KEYS, "key,reason\n0005,privacy\n,\n0006,\n", Column(("0005", "0006"), "key", 0)),
        (KEYS, 'reason;Key\n"asked; twice";0005\n', Column(("0005",), "Key", 0)),
        (KEYS, 'a,b\n"say ""no"""\n', Column(("a,b", 'say "no"'), None, 0)),
        (URLS, "Picture\nhttp://a.org/1,2.jpg\n", Column(("http://a.org/1,2.jpg",), "Picture", 0)),
        (URLS, "a.org/1.jpg\nhttp://a.org/2.jpg\n", Column(("a.org/1.jpg", "http://a.org/2.jpg"), None, 0)),
        (URLS, "row_id\tURL\n7\thttp://a.org/1\n", Column(("http://a.org/1",), "URL", 0)),
        (SHA256, f"{SUM}  pictures/a.jpg\n{SUM} *b.jpg\n", Column((SUM,), None, 1)),
        (SHA256, f"sum of the file\n{SUM.upper()}\n", Column((SUM.upper(),), "sum of the file", 0)),
    ],
)
def test_headers_quotes_tables_and_repeated_lines_of_a_spreadsheet(
    kind: ListKind, content: str, column: Column, tmp_path: Path
) -> None:
    (tmp_path / "list.csv").write_text(content)
    assert read_column(str(tmp_path / "list.csv"), kind) == column


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (KEYS, "0001\tprivacy\n", "'0001.tprivacy' holds several columns; name the right one 'key' in a first line"),
        (KEYS, "key,reason\n0001,x\n,y\n", "line 3: has nothing in the column 'key'"),
        (KEYS, "key\n\n", "is empty; write one key a line"),
        (SHA256, f"{SUM}\n{SUM[1:]}\n", "is not a SHA-256 sum; write 64 hex digits a line"),
    ],
)
def test_a_line_that_is_no_entry_is_named(kind: ListKind, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(BadInput, match=said):
        read_column(str(tmp_path / "list.csv"), kind)


def test_a_minus_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def type_in(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    type_in(b"# rows\n12\n7\n")
    assert read_numbers("-") == [12, 7]
    type_in(b"key,reason\n0005,privacy\n")
    assert read_column("-", KEYS).entries == ("0005",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; write one key a line"),
        (b"# only a comment\n", "is empty; write one key a line"),
        (b"\xe9\n", "is not UTF-8 text"),
        ("0001".encode("utf-16-le"), "zero bytes, as UTF-16 without its mark has"),
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
