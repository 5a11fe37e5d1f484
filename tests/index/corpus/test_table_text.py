"""CSV and TSV files are read with the encoding, delimiter and header that they have; an odd line is named."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from index.corpus.table_text import open_text_table
from index.errors import BadInput

WANTED = ["url", "caption"]
ROWS = [{"url": b"http://x/1", "caption": "Zürich, 東京".encode()}, {"url": b"http://x/2", "caption": b"b"}]
TSV = "caption\turl\nZürich, 東京\thttp://x/1\nb\thttp://x/2\n"


def read(path: Path | str, names: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    with open_text_table(str(path), names, WANTED, WANTED) as table:
        return [row for batch in table.batches for row in pa.Table.from_batches([batch]).to_pylist()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_every_unicode_encoding_gives_the_same_rows(tmp_path: Path, encoding: str, ends: str) -> None:
    (tmp_path / "t.tsv").write_bytes(TSV.replace("\n", ends).encode(encoding))
    assert read(tmp_path / "t.tsv") == ROWS


def test_packed_and_remote_files_give_the_same_rows(tmp_path: Path) -> None:
    from index import files

    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(TSV.encode("utf-16")))
    assert read(tmp_path / "t.tsv.gz") == ROWS
    files.write_atomic("memory://table_text/t.tsv", TSV)
    assert read("memory://table_text/t.tsv") == ROWS


@pytest.mark.parametrize("data", [b"no gzip", gzip.compress(TSV.encode(), mtime=0)[:-12]])
def test_a_broken_gzip_file_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.tsv.gz").write_bytes(data)
    with pytest.raises(BadInput, match="cannot be unpacked as gzip"):
        read(tmp_path / "t.tsv.gz")


def test_bytes_that_are_no_text_stay_as_they_are_for_their_row_alone(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes(b"caption\turl\ncaf\xe9\thttp://x/1\nb\thttp://x/2\n")
    assert read(tmp_path / "t.tsv") == [{"url": b"http://x/1", "caption": b"caf\xe9"}, ROWS[1]]
    lone = b"\x00\xd8"  # half of a pair of UTF-16
    (tmp_path / "t.tsv").write_bytes(TSV.encode("utf-16").replace("東".encode("utf-16-le"), lone))
    first, second = read(tmp_path / "t.tsv")
    assert first["caption"] == "Zürich, ".encode() + b"\xed\xa0\x80" + "京".encode()
    assert second == ROWS[1]


def test_a_file_that_only_begins_like_unicode_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_bytes(TSV.encode("utf-32") + b"\xff\xff\xff\xff")
    with pytest.raises(BadInput, match="begins like utf-32, but is not"):
        read(tmp_path / "t.tsv")


@pytest.mark.parametrize(("name", "delimiter"), [("t.csv", ";"), ("t.csv", "\t"), ("t.tsv", ","), ("t.csv", "|")])
def test_another_delimiter_than_the_names_is_found_by_the_header(tmp_path: Path, name: str, delimiter: str) -> None:
    (tmp_path / name).write_text(f"caption{delimiter}url\nb{delimiter}http://x/2\n")
    assert read(tmp_path / name) == ROWS[1:]


def test_a_file_without_a_header_is_recognized_and_read_with_the_names_of_its_columns(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text(TSV.partition("\n")[2])
    with pytest.raises(BadInput, match=r"has no header: its first line holds 'http://x/1'; name its 2 columns .*--col"):
        read(tmp_path / "t.tsv")
    assert read(tmp_path / "t.tsv", ("caption", "url")) == ROWS
    with pytest.raises(BadInput, match="its first line has 2 values, but --columns names 3"):
        read(tmp_path / "t.tsv", ("caption", "url", "n"))


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("t.tsv", "caption\turl\na\thttp://x\n\nb\n", "line 4 has 1 value, not 2; give each row 2 values between tabs"),
        ("t.tsv", "caption\turl\na\tb\thttp://x\n", "line 2 has 3 values, not 2"),
        ("t.tsv", "caption\turl\n" + "a\thttp://x\n" * 9 + '"two\nlines" x\thttp://x\n', "line 11 has 1 value, not 2"),
        ("t.csv", 'caption,url\n"two\nlines, a",http://x\na,b,http://x\n', "line 4 has 3 values, not 2"),
        ("t.csv", 'caption,url\n"a" b, c,http://x\n', "line 2 has 3 values, not 2; .* quote those that hold one"),
    ],
)
def test_a_line_with_other_values_than_the_header_is_named(tmp_path: Path, name: str, text: str, why: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=f"{name}: {why}"):
        read(tmp_path / name)


def test_an_odd_line_far_down_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.corpus.table_text._BLOCK", 500)
    (tmp_path / "t.tsv").write_text("caption\turl\n" + "a\thttp://x\n" * 500 + "b\n" + "a\thttp://x\n" * 500)
    with pytest.raises(BadInput, match=r"t.tsv: line 502 has 1 value"):
        read(tmp_path / "t.tsv")
