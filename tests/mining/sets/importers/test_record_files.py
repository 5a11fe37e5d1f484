"""The records of JSON, JSONL, Parquet, TSV and CSV files, and what of them can't be read."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput
from mining.sets.importers.record_files import (
    SUFFIXES,
    Unread,
    columns_of,
    read_records,
    records_file,
    suffix_of,
)

TEXTS = [{"id": "1", "text": 'a "quoted" word', "n": "x"}, {"id": "2", "text": "ä", "n": ""}]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"records{suffix}"
    path.write_bytes(records_file(TEXTS, suffix))
    assert list(read_records(str(path))) == TEXTS
    assert columns_of(str(path)) == ["id", "text", "n"]
    assert suffix_of(str(path).upper()) == suffix


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".parquet"])
def test_nested_values_are_kept(tmp_path: Path, suffix: str) -> None:
    rows = [{"a": [{"b": 1, "c": None}], "d": 2.5, "e": True}]
    (tmp_path / f"r{suffix}").write_bytes(records_file(rows, suffix))
    assert list(read_records(str(tmp_path / f"r{suffix}"))) == rows


def test_a_json_file_may_have_a_record_a_line(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text('{"a": 1}\n\n{"a": 2}\n')
    assert list(read_records(str(tmp_path / "dev.json"))) == [{"a": 1}, {"a": 2}]


def test_a_broken_line_is_counted_with_its_number_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n{"a": \n{"a": 3}\n' + "[" * 100_000 + '\n{"a": 5}\n{"cut": "')
    found = list(read_records(str(tmp_path / "r.jsonl")))
    assert [each for each in found if not isinstance(each, Unread)] == [{"a": 1}, {"a": 3}, {"a": 5}]
    unread = [each for each in found if isinstance(each, Unread)]
    assert [each.reason for each in unread] == ["broken JSON"] * 3
    assert [each.detail.split(":")[0] for each in unread] == ["line 2", "line 4", "line 6"]


def test_a_row_of_another_width_is_counted(tmp_path: Path) -> None:
    (tmp_path / "r.tsv").write_text("a\tb\n1\t2\n3\n4\t5\n")
    found = list(read_records(str(tmp_path / "r.tsv")))
    assert found == [
        {"a": "1", "b": "2"},
        Unread("another number of fields than columns", "row 3: 1, 2"),
        {"a": "4", "b": "5"},
    ]


def test_what_is_no_json_data_is_left_out_and_named(tmp_path: Path) -> None:
    table = pa.table({"id": [1], "day": [datetime.date(2026, 1, 1)], "raw": [b"x"]})
    pq.write_table(table, tmp_path / "r.parquet")
    notes: list[str] = []
    assert list(read_records(str(tmp_path / "r.parquet"), (), notes.append)) == [{"id": 1}]
    assert [note.split(": ", 1)[1] for note in notes] == [
        "the column day was left out: date32[day] is no JSON data",
        "the column raw was left out: binary is no JSON data",
    ]
    assert list(read_records(str(tmp_path / "r.parquet"), ("raw",))) == [{"id": 1, "raw": b"x"}]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("r.json", b'{\n "a": 1\n}', "is one JSON object over several lines"),
        ("r.json", b'[{"a": 1}, {"b"]', "broken JSON at line 1"),
        ("r.jsonl", b"\xff\xfe", "is not UTF-8"),
        ("r.parquet", b"PAR1 no", "is no Parquet file, or damaged"),
        ("r.csv", b'a,b\n1,"2', "broken after row"),
        ("r.tsv", b"a\ta\n1\t2\n", "two columns have one name"),
        ("r.xlsx", b"", "unknown kind of file; records are read from .json, .jsonl"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_of_one_line(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match=message) as error:
        list(read_records(str(tmp_path / name)))
    assert "\n" not in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_is_an_error(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        list(read_records(str(tmp_path / f"nowhere{suffix}")))


def test_a_damaged_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    data = bytearray(records_file([{"text": "x" * 5000, "n": place} for place in range(50)], ".parquet"))
    data[20:200] = b"\0" * 180
    path.write_bytes(data)
    with pytest.raises(BadInput, match="damaged"):
        list(read_records(str(path)))


def test_the_columns_of_rows_that_are_lists_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps([["a", "b"], ["c", "d", "e"]]))
    assert columns_of(str(tmp_path / "r.json")) == ["0", "1", "2"]


def test_there_is_no_writer_for_other_suffixes() -> None:
    rows: list[Any] = []
    with pytest.raises(BadInput, match=r"\.xlsx: unknown kind of file"):
        records_file(rows, ".xlsx")


def test_a_line_with_a_key_twice_is_counted_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"id": "a", "id": "b"}\n{"id": "c"}\n')
    assert list(read_records(str(tmp_path / "r.jsonl"))) == [
        Unread("a key comes twice in an object", "line 1: 'id'"),
        {"id": "c"},
    ]


def test_a_field_of_csv_may_be_long_and_columns_of_one_name_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("a,b\n" + "x" * 200_000 + ",1\n")
    [record] = read_records(str(tmp_path / "r.csv"))
    assert len(record["a"]) == 200_000
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"])
    pq.write_table(table, tmp_path / "r.parquet")
    with pytest.raises(BadInput, match="two columns have one name: a, a"):
        list(read_records(str(tmp_path / "r.parquet")))


def test_a_folder_of_that_name_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").mkdir()
    with pytest.raises(BadInput, match="cannot be read"):
        list(read_records(str(tmp_path / "r.jsonl")))
