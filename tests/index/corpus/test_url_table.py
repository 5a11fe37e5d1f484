"""Tables of URLs are made ready for img2dataset, row by row, and unclear ones are one line of bad input."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from index.corpus.url_table import (
    FOLDER,
    ROW,
    TablePlan,
    append_part,
    drop_unrecorded_parts,
    prepare_table,
    read_part,
    read_plan,
    refused_rows,
)
from index.errors import BadInput, OutputExists
from index.files import atomic_file, join, write_atomic

SETTINGS = TablePlan("url", "caption", (), 3, None, "keep_ratio")


def table_of(count: int, first: int = 0) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table({"url": [f"http://x/{n}" for n in numbers], "caption": [f"c, {n}" for n in numbers], "n": numbers})


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv"])
def test_each_kind_of_table_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    path, out = tmp_path / f"t.{suffix}", str(tmp_path / "out")
    if suffix == "parquet":
        pq.write_table(table_of(7), path)
    else:
        pa_csv.write_csv(table_of(7), path, pa_csv.WriteOptions(delimiter="\t" if suffix == "tsv" else ","))
    plan = prepare_table(str(path), out, replace(SETTINGS, keep_columns=("n",)))
    assert (plan.rows, plan.part_rows, plan.shards) == (7, (7,), 3)
    assert read_part(out, 0).to_pydict() == {
        ROW: list(range(7)),
        "url": [f"http://x/{n}" for n in range(7)],
        "caption": [f"c, {n}" for n in range(7)],
        "n": list(range(7)),
    }
    assert read_plan(out) == plan


def test_captions_that_look_like_numbers_or_nulls_stay_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('url,caption\nhttp://x/1,007\nhttp://x/2,NULL\nhttp://x/3,"two\nlines"\n')
    prepare_table(str(tmp_path / "t.csv"), str(tmp_path / "out"), SETTINGS)
    assert read_part(str(tmp_path / "out"), 0)["caption"].to_pylist() == ["007", "NULL", "two\nlines"]


def test_only_http_urls_pass_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    urls = ["file:///etc/passwd", "HTTPS://x/1", None, "ftp://x/2", " http://x/with space", "http://x/ü", "data:,x"]
    pq.write_table(pa.table({"url": urls, "caption": [None] * 7}), tmp_path / "t.parquet")
    out = str(tmp_path / "out")
    plan = prepare_table(str(tmp_path / "t.parquet"), out, SETTINGS)
    assert (plan.rows, plan.part_rows, plan.refused) == (7, (3,), (4,))
    assert read_part(out, 0).select([ROW, "url"]).to_pylist() == [{ROW: row, "url": urls[row]} for row in (1, 4, 5)]
    (refused,) = refused_rows(out, read_plan(out))
    assert dict(zip(*refused.to_pydict().values(), strict=True)) == {
        0: "not_http",
        2: "no_url",
        3: "not_http",
        6: "data_url",
    }


def test_plans_of_earlier_versions_are_continued(tmp_path: Path) -> None:
    tables, out = tmp_path / "tables", tmp_path / "out"
    tables.mkdir()
    pq.write_table(table_of(4), tables / "a.parquet")
    prepare_table(str(tables), str(out), SETTINGS)
    plan = json.loads((out / FOLDER / "plan.json").read_text())
    del plan["columns"], plan["refused"]
    (out / FOLDER / "plan.json").write_text(json.dumps({**plan, "rows": 5}))
    pq.write_table(pa.table({"url": ["http://x/5", ""], "caption": ["c", "d"]}), tables / "b.parquet")
    grown = prepare_table(str(tables), str(out), SETTINGS)
    assert (grown.rows, grown.part_rows, grown.refused) == (7, (4, 1), (1,))
    assert next(refused_rows(str(out), grown)).to_pydict() == {ROW: [6], "reason": ["no_url"]}


def test_a_column_that_turns_from_numbers_to_text_is_kept_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.corpus.table_text._BLOCK", 1000)  # bytes
    lines = [f"http://x/{n},c,{n}\n" for n in range(400)] + ["http://x/a,c,12 px\n"]
    (tmp_path / "t.csv").write_text("url,caption,n\n" + "".join(lines))
    out, settings = str(tmp_path / "out"), replace(SETTINGS, keep_columns=("n",), shard_size=2)
    plan = prepare_table(str(tmp_path / "t.csv"), out, settings)
    assert plan.part_rows == (200, 200, 1)
    found = [text for part in range(3) for text in read_part(out, part)["n"].to_pylist()]
    assert found == [*map(str, range(400)), "12 px"]


def test_kept_columns_become_what_json_can_hold(tmp_path: Path) -> None:
    day = datetime.date(2024, 5, 6)
    table = table_of(1).append_column("day", pa.array([day])).append_column("tags", pa.array([["a", "b"]]))
    pq.write_table(table, tmp_path / "t.parquet")
    prepare_table(str(tmp_path / "t.parquet"), str(tmp_path / "out"), replace(SETTINGS, keep_columns=("day", "tags")))
    assert read_part(str(tmp_path / "out"), 0).select(["day", "tags"]).to_pylist() == [
        {"day": "2024-05-06", "tags": ["a", "b"]}
    ]


def test_long_tables_are_cut_into_parts_of_whole_shards(tmp_path: Path) -> None:
    pq.write_table(table_of(750), tmp_path / "t.parquet")
    plan = prepare_table(str(tmp_path / "t.parquet"), str(tmp_path / "out"), SETTINGS)
    assert (plan.part_rows, plan.shards) == ((300, 300, 150), 250)
    assert read_part(str(tmp_path / "out"), 2)[ROW].to_pylist() == list(range(600, 750))


def test_a_grown_folder_and_a_retry_append_parts_and_change_none(tmp_path: Path) -> None:
    tables, out = tmp_path / "tables", str(tmp_path / "out")
    tables.mkdir()
    pq.write_table(table_of(4), tables / "a.parquet")
    first = prepare_table(str(tables), out, SETTINGS)
    retried = append_part(out, first, read_part(out, 0).slice(1, 1))
    pq.write_table(table_of(2, first=4), tables / "b.parquet")
    grown = prepare_table(str(tables), out, SETTINGS)
    assert (retried.part_rows, grown.part_rows, grown.rows, grown.shards) == ((4, 1), (4, 1, 2), 6, 4)
    assert [read_part(out, part)[ROW].to_pylist() for part in range(3)] == [[0, 1, 2, 3], [1], [4, 5]]
    assert prepare_table(str(tables), out, SETTINGS) == grown


def test_parts_of_a_killed_preparation_are_dropped(tmp_path: Path) -> None:
    pq.write_table(table_of(2), tmp_path / "t.parquet")
    out = tmp_path / "out"
    plan = prepare_table(str(tmp_path / "t.parquet"), str(out), SETTINGS)
    for number in (1, 2):
        pq.write_table(table_of(2), out / FOLDER / f"part-{number:05d}.parquet")
    drop_unrecorded_parts(str(out), plan)
    assert [path.name for path in (out / FOLDER).glob("*.parquet")] == ["part-00000.parquet"]


def test_other_downloads_in_the_folder_are_not_touched(tmp_path: Path) -> None:
    table, out = str(tmp_path / "t.parquet"), tmp_path / "out"
    pq.write_table(table_of(2), table)
    out.mkdir()
    (out / "00000.tar").write_bytes(b"someone's")
    with pytest.raises(OutputExists, match="did not make"):
        prepare_table(table, str(out), SETTINGS)
    (out / "00000.tar").unlink()
    prepare_table(table, str(out), SETTINGS)
    with pytest.raises(OutputExists, match="other settings"):
        prepare_table(table, str(out), replace(SETTINGS, image_size=64))
    pq.write_table(table_of(200), table)
    with pytest.raises(OutputExists, match="another table"):
        prepare_table(table, str(out), SETTINGS)


def test_a_folder_as_spark_writes_it_may_have_a_tables_name_and_files_without_rows(tmp_path: Path) -> None:
    for root in (str(tmp_path), "memory://spark"):
        folder = join(root, "urls.parquet")
        for number, rows in enumerate((0, 3, 2)):
            with atomic_file(join(folder, f"part-{number:05d}-c000.snappy.parquet")) as partial:
                pq.write_table(table_of(rows), partial)
        write_atomic(join(folder, "_SUCCESS"), "")
        plan = prepare_table(folder, join(root, "out"), SETTINGS)
        assert (plan.rows, plan.part_rows) == (5, (3, 2))
    for path in (tmp_path / "urls.parquet").glob("part-*"):
        pq.write_table(table_of(0), path)
    with pytest.raises(BadInput, match=r"urls\.parquet: has no rows"):
        prepare_table(str(tmp_path / "urls.parquet"), str(tmp_path / "other"), SETTINGS)


@pytest.mark.parametrize(
    ("name", "text", "settings", "why"),
    [
        ("none.csv", None, {}, "not found"),
        ("t.txt", "x", {}, "is no table of URLs"),
        ("t.csv", "link,caption\nhttp://x,y\n", {}, "has no column 'url'; its columns are link, caption"),
        ("t.csv", "url,caption\n", {}, "has no rows"),
        ("t.csv", "", {}, "cannot be read as a table"),
        ("t.csv", "url,caption\nhttp://x,y,z\n", {}, "line 2 has 3 values, not 2"),
        ("t.parquet", "not parquet", {}, "cannot be read as a table"),
        ("t.csv", "url,caption\nfile:///a,y\n", {}, "none of its 1 rows has an http"),
        ("t.csv", "url,caption\nhttp://x,y\n", {"keep_columns": ("sha256",)}, "cannot be kept"),
        ("t.csv", "url,caption\nhttp://x,y\n", {"shard_size": 1}, "at least 2"),
    ],
)
def test_an_unclear_table_is_one_line(
    tmp_path: Path, name: str, text: str | None, settings: dict[str, object], why: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=why) as caught:
        prepare_table(str(tmp_path / name), str(tmp_path / "out"), replace(SETTINGS, **settings))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
