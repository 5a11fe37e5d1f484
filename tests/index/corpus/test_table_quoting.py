"""A table's quoting is what its quotes prove; where they prove two things, its line is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.corpus.table_quoting import Dialect, find_dialect, rows_of, split_line
from index.errors import BadInput


def dialect_of(folder: Path, text: str, delimiter: str = "\t") -> Dialect:
    (folder / "t").write_bytes(text.encode())
    return find_dialect("t", folder / "t", delimiter, text.removeprefix("\ufeff").partition("\n")[0])


def table(*captions: str, delimiter: str = "\t") -> str:
    lines = [f"{caption}{delimiter}http://x/{number}" for number, caption in enumerate(captions)]
    return "\n".join([f"caption{delimiter}url", *lines]) + "\n"


@pytest.mark.parametrize(
    ("captions", "quoted"),
    [
        (["plain", "5\" pipe, 6' long"], False),
        (['"Golden hour" over the bay', "b"], False),
        (['"Out of office', "b", 'the sign says "closed"'], False),
        (['"no end'], False),
        (['"The End"'], False),
        (['""'], False),
        (['"Out of office', "b", 'closed"'], False),
        (['"He said ""hi"""'], True),
        (['"a\ttab"'], True),
        (['"two\nlines"'], True),
        (['"two\r\nlines"', '"He said ""hi"""'], True),
        (['"He said ""hi"""', '"Golden hour" over the bay'], False),
    ],
)
def test_a_tsv_file_is_quoted_only_where_it_proves_so(tmp_path: Path, captions: list[str], quoted: bool) -> None:
    assert dialect_of(tmp_path, table(*captions)).quoted is quoted
    assert dialect_of(tmp_path, "\ufeff" + table(*captions).replace("\n", "\r\n")).quoted is quoted


def test_a_header_in_quotes_is_proof(tmp_path: Path) -> None:
    assert dialect_of(tmp_path, '"caption"\t"url"\n"a"\t"http://x"\n').quoted
    assert dialect_of(tmp_path, '\ufeff"caption"\t"url"\n"a"\t"http://x"\n').quoted


@pytest.mark.parametrize(
    ("captions", "quoted"),
    [(["plain"], True), (['"a, b"', '"c"'], True), (['"Golden hour" over the bay'], False), (['"no end'], False)],
)
def test_a_csv_file_is_quoted_unless_its_quotes_do_not_fit(tmp_path: Path, captions: list[str], quoted: bool) -> None:
    assert dialect_of(tmp_path, table(*captions, delimiter=","), ",").quoted is quoted


@pytest.mark.parametrize("odd", ['"Golden hour" over the bay', '"no end', '"Out,http://x/7\nclosed"'])
def test_a_csv_file_that_is_quoted_and_is_not_is_refused_with_the_line(tmp_path: Path, odd: str) -> None:
    with pytest.raises(BadInput, match=r"t: line 4 has a value that begins with a quote"):
        dialect_of(tmp_path, table("plain", '"a, b"', odd, "d", delimiter=","), ",")


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_backslashes_before_quotes_are_spark_s(tmp_path: Path, delimiter: str) -> None:
    text = table(r'"He said \"hi\", twice"', '"a, b"', "plain", delimiter=delimiter)
    found = dialect_of(tmp_path, text, delimiter)
    assert found == Dialect(delimiter, quoted=True, escaped=True)
    assert [row[0] for row in rows_of(text.splitlines(), found)][1:] == ['He said "hi", twice', "a, b", "plain"]


def test_a_line_is_split_by_its_dialect() -> None:
    assert split_line('"a\tb"\tc', Dialect("\t", quoted=True)) == ["a\tb", "c"]
    assert split_line('"a\tb"\tc', Dialect("\t", quoted=False)) == ['"a', 'b"', "c"]
    assert split_line("", Dialect("\t", quoted=True)) == []


def test_an_empty_file_has_no_quotes(tmp_path: Path) -> None:
    assert dialect_of(tmp_path, "") == Dialect("\t", quoted=False)
