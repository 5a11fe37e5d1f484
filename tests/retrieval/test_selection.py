from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput, StoreInvalid
from index.store.compact import compact_store
from retrieval import Rules, Selection, retrieve
from retrieval.concepts import Concept, ConceptList
from retrieval.selection import SELECTION_SCHEMA
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


def rows_of(selection: Selection) -> list[int]:
    return selection.table(["row_id"])["row_id"].to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize("compacted", [False, True])
def test_rows_forgotten_since_are_hidden_from_tables_and_counts(selection: Selection, compacted: bool) -> None:
    opened = Selection.open(selection.path)
    row = opened.table(concepts=["cat"])["row_id"][0].as_py()
    spare = opened.table(["row_id"], section="reserve")["row_id"][0].as_py()
    before, hits = opened.counts, opened.hits
    forget(opened.store(), [row, spare])
    if compacted:
        compact_store(str(opened.store().path))
    for reader in (opened, Selection.open(selection.path)):
        assert row not in rows_of(reader)
        assert spare not in reader.table(["row_id"], section="reserve")["row_id"].to_pylist()
        assert [part.column_names for part in reader.tables(["key"])] == [["key"]]
        assert reader.table(["key"]).num_rows == reader.rows == len(list(reader)) == sum(before.values()) - 1
        assert reader.counts == {**before, "cat": before["cat"] - 1}
        assert reader.reserve_rows == selection.manifest["reserve"]["count"] - 1
        assert reader.forgotten_rows == reader.losses["forgotten"] == 1
        assert hits == reader.rows + sum(reader.losses.values())
        assert "1 forgotten since" in repr(reader)
        whole = reader.table(["row_id", "caption"], include_forgotten=True)
        assert row in whole["row_id"].to_pylist()
    assert opened.identity == selection.identity


def test_where_the_store_is_not_it_is_not_known_what_was_forgotten(selection: Selection, tmp_path: Path) -> None:
    row = rows_of(selection)[0]
    forget(selection.store(), [row])
    shutil.move(tmp_path / "a" / "store", tmp_path / "moved")
    lost = Selection.open(selection.path)
    assert lost.forgotten_rows is None
    assert row in rows_of(lost)
    found = Selection.open(selection.path, store=tmp_path / "moved")
    assert found.forgotten_rows == 1
    assert row not in rows_of(found)
    other = make_store(tmp_path / "other", random_unit(30))
    with pytest.raises(StoreInvalid, match="is not the store that"):
        Selection.open(selection.path, store=other.path)


@pytest.fixture
def cranes(tmp_path: Path) -> Selection:
    """Two classes of one name: the bird lies near row 0, the machine near row 1."""
    vectors = random_unit(12)
    store = make_store(tmp_path, vectors)
    encoder = WordEncoder({"bird": vectors[0], "machine": vectors[1], "dog": vectors[2]}, DIM)
    concepts = ConceptList(
        (
            Concept("crane", (), ("{} bird",), "134"),
            Concept("dog"),
            Concept("crane", (), ("{} machine",), "517"),
        )
    )
    rules = Rules(cross_concept="keep-all")
    return retrieve(
        store,
        concepts,
        out=tmp_path / "s",
        k=2,
        mode="t2i",
        templates="name",
        rules=rules,
        encoder=encoder,  # type: ignore[arg-type]
    )


def test_two_classes_of_one_name_are_told_apart_by_their_ids(cranes: Selection) -> None:
    opened = Selection.open(cranes.path)
    assert opened.concepts == ("crane", "dog", "crane")
    assert opened.class_ids == ("134", None, "517")
    assert opened.counts == {"crane (134)": 2, "dog": 2, "crane (517)": 2}
    rows = [(row["concept"], row["class_id"], row["row_id"]) for row in opened if row["rank"] == 1]
    assert rows == [("crane", "134", 0), ("dog", None, 2), ("crane", "517", 1)]
    assert opened.table(concepts=["crane"]).num_rows == 4
    assert opened.table(["row_id"], concepts=["crane (517)"])["row_id"][0].as_py() == 1
    assert opened.places(opened.table()).tolist() == [0, 0, 1, 1, 2, 2]


def test_a_selection_from_before_rows_had_class_ids_takes_them_from_its_manifest(cranes: Selection) -> None:
    part = Path(cranes.path) / "rows/rows_0000.parquet"
    table = pq.read_table(part)
    pq.write_table(table.filter(np.array(table["class_id"].to_pylist()) != "517").drop_columns("class_id"), part)
    manifest = Path(cranes.path) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"rows": 6', '"rows": 4').replace('"count": 6', '"count": 4'))
    old = Selection.open(cranes.path)
    assert old.table(["key", "class_id"]).column_names == ["key", "class_id"]
    assert old.table(["class_id"], concepts=["dog"])["class_id"].to_pylist() == [None, None]
