"""Each row of a table is usable or refused with a reason; a column that cannot serve is one line."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.corpus.table_rows import Columns, MixedColumn, Rows, is_table, table_rows, url_problems, usable_urls
from index.errors import BadInput

COLUMNS = Columns("url", "caption")
URLS = [f"http://x/{number}" for number in range(4)]


def text_of(values: list[bytes]) -> pa.Array:
    """A column of text, whatever the bytes: Arrow does not look at them."""
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(values)))


def read(folder: Path, columns: Columns = COLUMNS, **table: Any) -> Rows:
    pq.write_table(pa.table(table), folder / "t.parquet")
    (rows,) = table_rows(str(folder / "t.parquet"), columns)
    return rows


def refused(rows: Rows) -> dict[int, str]:
    return dict(zip(rows.refused.tolist(), rows.reasons.to_pylist(), strict=True))


def test_a_table_is_told_by_its_name() -> None:
    assert all(is_table(name) for name in ("a.parquet", "s3://b/A.CSV", "c.tsv", "d.tsv.gz"))
    assert not any(is_table(name) for name in ("a.tar", "photos", "a.parquet/", "a.gz"))


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://x/1", None),
        (" \u00a0\ufeffHTTPS://x\n", None),
        ("http://x/two words/ü", None),
        (None, "no_url"),
        ("", "no_url"),
        (" \t\u200b", "no_url"),
        ("data:image/png;base64,AAAA", "data_url"),
        ("file:///etc/passwd", "not_http"),
        ("ftp://x/1", "not_http"),
        ("//x/1", "not_http"),
        ("n/a", "not_http"),
    ],
)
def test_only_urls_of_the_web_are_usable(url: str | None, problem: str | None) -> None:
    column = pa.chunked_array([[url]], pa.string())
    assert url_problems(column).to_pylist() == [problem]
    assert usable_urls(column).to_pylist() == [problem is None]


def test_a_text_that_is_not_utf8_costs_its_row_and_no_other(tmp_path: Path) -> None:
    rows = read(tmp_path, url=URLS, caption=text_of([b"a", b"b", b"caf\xe9", "é".encode()]))
    assert (rows.count, refused(rows)) == (4, {2: "not_utf8"})
    assert rows.usable.to_pydict() == {"url": [URLS[0], URLS[1], URLS[3]], "caption": ["a", "b", "é"]}
    assert rows.place.tolist() == [0, 1, 3]


def test_one_url_or_kept_text_that_is_not_utf8_costs_its_row_too(tmp_path: Path) -> None:
    tags = pa.ListArray.from_arrays([0, 1, 2, 2, 3], text_of([b"x", b"\xff", b"y"]))
    urls = text_of([b"http://x/0", b"http://x/1", b"http://x/\xfc", b"ftp://x"])
    rows = read(tmp_path, Columns("url", None, ("tags",)), url=urls, tags=tags)
    assert refused(rows) == {1: "not_utf8", 2: "not_utf8", 3: "not_http"}
    assert rows.usable.to_pylist() == [{"url": "http://x/0", "tags": ["x"]}]


@pytest.mark.parametrize(
    ("column", "captions"),
    [
        (pa.array(["a", None, "", "d"]), ["a", None, "", "d"]),
        (pa.array([b"a", None, b"caf\xc3\xa9", b""]), ["a", None, "café", ""]),
        (pa.array([b"ab", b"cd", b"ef", b"gh"], pa.binary(2)), ["ab", "cd", "ef", "gh"]),
        (pa.array(["a", "b", "a", None], pa.large_string()), ["a", "b", "a", None]),
        (pa.array(["a", "b", "a", None]).dictionary_encode(), ["a", "b", "a", None]),
        (pa.nulls(4), [None] * 4),
        (pa.array([1, 2, None, 4]), ["1", "2", None, "4"]),
        (pa.array([True, False, None, True]), ["true", "false", None, "true"]),
        (pa.array([datetime.date(2024, 5, 6)] * 4), ["2024-05-06"] * 4),
    ],
)
def test_captions_of_any_type_that_has_a_text_are_read(tmp_path: Path, column: pa.Array, captions: list[Any]) -> None:
    rows = read(tmp_path, url=pa.array(URLS).cast(pa.large_binary()), caption=column)
    assert rows.usable.to_pydict() == {"url": URLS, "caption": captions}


@pytest.mark.parametrize(
    ("columns", "table", "why"),
    [
        (
            COLUMNS,
            {"caption": [["a"], [], None, ["b"]]},
            r"'caption' is of type list<.*>; a caption .*--caption-column",
        ),
        (COLUMNS, {"caption": [{"text": "a"}] * 4}, r"'caption' is of type struct<.*>; a caption has to be one text"),
        (COLUMNS, {"url": [[url] for url in URLS], "caption": URLS}, r"'url' is of type list<.*>; URLs .*--url-column"),
        (COLUMNS, {"url": [1, 2, 3, 4], "caption": URLS}, r"'url' is of type int64"),
        (
            Columns("url", None, ("days",)),
            {"days": [[datetime.date(2024, 5, 6)]] * 4},
            r"'days' is of type list<.*>; such values cannot be kept; leave it out of --keep",
        ),
        (COLUMNS, {"text": URLS}, "has no column 'caption'; its columns are url, text; choose with --caption-column"),
        (Columns("url", None, (), ("url",)), {}, "--columns is for text files"),
    ],
)
def test_a_column_that_cannot_serve_is_one_line_with_its_type_and_a_remedy(
    tmp_path: Path, columns: Columns, table: dict[str, Any], why: str
) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        read(tmp_path, columns, **{"url": URLS, **table})
    assert "\n" not in str(caught.value)


def test_a_doubled_column_is_refused_only_where_it_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table([pa.array(URLS)] * 4, names=["url", "text", "text", "caption"]), path)
    assert next(table_rows(path, COLUMNS)).count == 4
    with pytest.raises(BadInput, match="has 2 columns named 'text'; rename all but one"):
        list(table_rows(path, Columns("url", "text")))
    (tmp_path / "t.csv").write_text("url,text,text\nhttp://x,a,b\n")
    with pytest.raises(BadInput, match="has 2 columns named 'text'"):
        list(table_rows(str(tmp_path / "t.csv"), Columns("url", "text")))


def test_kept_values_stay_what_json_can_hold_and_others_become_text(tmp_path: Path) -> None:
    kept: dict[str, list[Any]] = {
        "box": [{"x": 1, "y": [1.5, None]}] * 4,
        "size": [[1, 2]] * 4,
        "price": [decimal.Decimal("1.50")] * 4,
        "when": [datetime.date(2024, 5, 6)] * 4,
    }
    rows = read(tmp_path, Columns("url", None, tuple(kept)), url=URLS, **kept)
    first = {"url": URLS[0], "box": kept["box"][0], "size": [1, 2], "price": "1.50", "when": "2024-05-06"}
    assert rows.usable.to_pylist()[0] == first


def test_a_column_with_other_values_further_down_is_read_as_text_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.corpus.table_text._BLOCK", 100)
    (tmp_path / "t.csv").write_bytes(b"url,n\n" + b"http://x,1\n" * 50 + b"http://x,many\nhttp://x,\xff\n")
    columns = Columns("url", None, ("n",))
    with pytest.raises(MixedColumn):
        list(table_rows(str(tmp_path / "t.csv"), columns))
    found = list(table_rows(str(tmp_path / "t.csv"), columns, as_text=True))
    assert [text for rows in found for text in rows.usable["n"].to_pylist()] == [*["1"] * 50, "many"]
    assert [reason for rows in found for reason in rows.reasons.to_pylist()] == ["not_utf8"]


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"url": URLS * 1000, "caption": [f"{n}" for n in range(4000)]}), path)
    data = bytearray(path.read_bytes())
    data[40:400] = b"\xff" * 360
    path.write_bytes(data)
    with pytest.raises(BadInput, match="cannot be read as a table"):
        list(table_rows(str(path), COLUMNS))
