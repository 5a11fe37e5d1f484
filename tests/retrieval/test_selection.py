from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from index.errors import BadInput, StoreInvalid
from retrieval import Selection, retrieve
from retrieval.selection import SELECTION_SCHEMA, distinct_rows
from tests.retrieval.stores import forget, make_store, random_unit
from tests.retrieval.words import WordEncoder

DIM = 8


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    store = make_store(tmp_path / "a", random_unit(40), random_unit(40, seed=1))
    encoder = WordEncoder({"dog": random_unit(1, seed=5)[0], "cat": random_unit(1, seed=6)[0]}, DIM)
    out = tmp_path / "a" / "selection"
    return retrieve(store, ["dog", "cat"], out=out, k=8, templates="name", encoder=encoder)  # type: ignore[arg-type]


def test_a_selection_opens_with_its_schema_counts_and_concepts(selection: Selection) -> None:
    opened = Selection.open(selection.path)
    assert opened.table().schema.equals(SELECTION_SCHEMA)
    assert opened.table().num_rows == opened.rows == len(opened) == sum(opened.counts.values())
    assert opened.concepts == ("dog", "cat")
    assert opened.table(section="reserve").num_rows == opened.reserve_rows > 0


def test_rows_are_in_order_of_concept_then_rank(selection: Selection) -> None:
    rows = [(selection.concepts.index(row["concept"]), row["rank"]) for row in selection]
    assert rows == sorted(rows)


def test_columns_and_concepts_can_be_chosen(selection: Selection) -> None:
    table = selection.table(["row_id", "score"], concepts=["cat"])
    assert table.column_names == ["row_id", "score"]
    assert table.num_rows == selection.counts["cat"]
    assert [part.column_names for part in selection.tables(["key"])] == [["key"]]


def test_a_selection_is_a_data_frame_and_shows_itself_in_one_line(selection: Selection) -> None:
    frame = selection.to_pandas()
    assert list(frame.columns) == SELECTION_SCHEMA.names
    assert frame["caption"].tolist() == selection.table(["caption"])["caption"].to_pylist()
    assert len(selection.to_pandas(["key"], concepts=["cat"])) == selection.counts["cat"]
    assert repr(selection) == f"Selection({selection.path!r}, {selection.rows} rows of 2 concepts)"


def test_what_is_no_selection_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no selection"):
        Selection.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BadInput, match="not the manifest of a selection"):
        Selection.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match="damaged"):
        Selection.open(tmp_path)


def test_a_missing_or_cut_part_is_named(selection: Selection) -> None:
    part = Path(selection.path) / "rows/rows_0000.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:100])
    with pytest.raises(BadInput, match=r"rows_0000\.parquet: missing or damaged"):
        Selection.open(selection.path)
    part.write_bytes((Path(selection.path) / "reserve/reserve_0000.parquet").read_bytes())
    with pytest.raises(BadInput, match=r"rows_0000\.parquet: has \d+ rows, its manifest says"):
        Selection.open(selection.path)
    part.unlink()
    with pytest.raises(BadInput, match="missing or damaged"):
        Selection.open(selection.path)


def test_the_store_is_found_when_both_moved_together(selection: Selection, tmp_path: Path) -> None:
    shutil.move(tmp_path / "a", tmp_path / "b")
    moved = Selection.open(tmp_path / "b" / "selection")
    assert moved.store().path == tmp_path / "b" / "store"


def test_another_store_is_refused(selection: Selection, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", random_unit(30))
    with pytest.raises(StoreInvalid, match="is not the store that"):
        selection.store(other.path)


def test_a_store_that_grew_or_forgot_rows_is_the_same_one(selection: Selection, tmp_path: Path) -> None:
    forget(selection.store(), [3])
    assert selection.store().rows == 40
    make_store(tmp_path / "a", random_unit(80), random_unit(80, seed=1), parts=4)
    assert selection.store().rows == 80


def ranked(rows: list[tuple[int, str, int]]) -> pa.Table:
    row_id, concept, rank = zip(*rows, strict=True)
    return pa.table({"row_id": pa.array(row_id), "concept": pa.array(concept), "rank": pa.array(rank, pa.int32())})


def test_each_row_comes_once_in_order_with_its_best_rank_and_all_concepts() -> None:
    found = distinct_rows(ranked([(7, "dog", 3), (2, "dog", 1), (7, "cat", 1), (7, "fox", 3)])).to_pylist()
    assert found == [
        {"row_id": 2, "concept": "dog", "rank": 1, "concepts": ["dog"]},
        {"row_id": 7, "concept": "cat", "rank": 1, "concepts": ["cat", "dog", "fox"]},
    ]


def test_no_rows_give_no_rows() -> None:
    empty = distinct_rows(ranked([(1, "dog", 1)]).slice(0, 0))
    assert empty.num_rows == 0
    assert empty.schema.field("concepts").type == pa.list_(pa.string())
