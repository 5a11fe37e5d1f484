from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.sets import write_sets
from mining.sets.image_set import ImageSet, Member
from mining.sets.sources import Source, store_source
from mining.sets.store_members import members_table
from mining.sets.write_sets import ImageSetsWriter, write_image_sets
from tests.folders import file_bytes
from tests.mining.made_sets import annotation, foreign_member, many_pairs, sets_table, texts_of, write_foreign_sets
from tests.mining.made_sets import write_sets as write
from tests.retrieval.stores import forget, make_store, random_unit

PHOTOS = Source("photos", "files", "/photos", collection="photos")


def rows_of(rows: list[list[int]]) -> pa.Array:
    return pa.array(rows, pa.list_(pa.int64()))


def test_the_same_sets_give_the_same_bytes_in_whatever_pieces_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_sets, "PART_SETS", 1_000)
    store = make_store(tmp_path, random_unit(80))
    source = store_source(store, tmp_path / "one")
    rows = many_pairs(80, 2_300)
    for name, size in (("one", 2_300), ("several", 700)):
        writer = ImageSetsWriter(tmp_path / name)
        for first in range(0, len(rows), size):
            some = rows[first : first + size]
            sets = sets_table(some, source.name)
            said = [annotation(set_id, "a dog") for set_id in sets["set_id"].to_pylist()]
            writer.add(sets, members_table(store, source.name, sets["set_id"], rows_of(some)), said)
        writer.finish([source], {"seed": 3})
    assert file_bytes(tmp_path / "one") == file_bytes(tmp_path / "several")
    opened = ImageSets.open(tmp_path / "one")
    assert [part["rows"] for part in opened.manifest["parts"]] == [1_000, 1_000, 300]
    assert (opened.manifest["sets"], opened.manifest["members"], opened.manifest["seed"]) == (2_300, 4_600, 3)
    assert [list(each.rows) for each in opened] == rows
    assert [part["rows"] for _, part in opened.annotations.parts] == [1_000, 1_000, 300]
    assert {len(each.annotations) for each in opened.with_annotations()} == {1}


def test_sets_with_all_that_they_can_hold_come_back_as_they_were(tmp_path: Path) -> None:
    members = (
        Member(0, "photos", path="a/1.jpg", bytes=9, caption="left", captions=("left", "links"), sha256="ff"),
        Member(1, "photos", shard="b.tar", offset=512, bytes=7, key="2.jpg", extra={"box": [1, 2], "über": "<image>"}),
        Member(2, "photos", url="https://example.org/3.jpg"),
    )
    whole = ImageSet(
        "a set / with any id",
        "photos",
        members,
        level=2,
        difficulty=0.5,
        split="held-out",
        image_sim=0.25,
        text_sim=0.75,
        shared_nouns=("dog",),
        axis="color",
        concept="dog",
        entity="Rex",
        reasons=("share a dog",),
        extra={"id": 7, "nested": {"a": [None, 1.5]}},
        annotations=(annotation("a set / with any id", "a dog", images=(2, 0), options=["A", "B"]),),
    )
    sets = [whole, ImageSet("text", "photos", ()), ImageSet("one", "photos", (members[0],))]
    writer = ImageSetsWriter(tmp_path / "sets")
    writer.add_sets(sets)
    assert list(writer.finish([PHOTOS], {}).with_annotations()) == sets


def test_an_annotator_may_say_the_same_twice(tmp_path: Path) -> None:
    writer = ImageSetsWriter(tmp_path / "sets")
    said = annotation("a", "nothing differs", images=())
    writer.add_sets([ImageSet("a", "photos", (), annotations=(said, said))])
    sets = writer.finish([PHOTOS], {}).with_annotations()
    assert texts_of(sets[0]) == ["nothing differs"] * 2
    assert [each.annotation_id for each in sets[0].annotations] == [said.annotation_id, f"{said.annotation_id}-2"]


def test_sets_may_lie_in_an_object_store(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(12))
    source = store_source(store, "memory://bucket/pairs")
    sets = sets_table([[0, 1], [2, 3]], source.name)
    members = members_table(store, source.name, sets["set_id"], rows_of([[0, 1], [2, 3]]))
    written = write_image_sets("memory://bucket/pairs", sets, members, [source], {})
    assert [each.rows for each in written] == [(0, 1), (2, 3)]
    assert written.store().path == store.path
    assert written.annotations.counts() == {}
    written.add_annotations([annotation(written[1].set_id, "a dog")], "part")
    opened = ImageSets.open("memory://bucket/pairs")
    assert [texts_of(each) for each in opened.with_annotations("comparison")] == [[], ["a dog"]]
    assert opened.kept().split({"a": 0.5, "b": 0.5}).counts() == {"a": 1, "b": 1, "straddling": 0}


def test_no_sets_at_all_are_a_complete_folder(tmp_path: Path) -> None:
    sets = write(tmp_path, [])
    assert len(sets) == 0
    assert list(sets) == list(sets.with_annotations()) == []
    assert sets.counts() == {}
    assert len(sets.filter(level=1)) == 0
    assert len(ImageSetsWriter(tmp_path / "none").finish([], {})) == 0
    assert sets.split({"train": 0.5, "test": 0.5}).counts() == {"train": 0, "test": 0, "straddling": 0}


def test_columns_that_may_be_null_may_be_missing(tmp_path: Path) -> None:
    sets = pa.table({"set_id": ["a"], "strategy": ["photos"], "size": [2]})
    members = pa.table({"set_id": ["a", "a"], "position": [0, 1], "source": ["photos"] * 2, "path": ["1", "2"]})
    written = write_image_sets(tmp_path / "pairs", sets, members, [PHOTOS], {})
    assert written[0].captions == (None, None)
    assert (written[0].axis, written[0].level, written[0].difficulty) == (None, 0, None)


MEMBERS: dict[str, list[object]] = {
    "set_id": ["a", "a"],
    "position": [0, 1],
    "source": ["photos"] * 2,
    "path": ["1", "2"],
}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({name: values[:1] for name, values in MEMBERS.items()}, "1 members given, the sets' sizes add up to 2"),
        ({"set_id": ["a", "b"]}, "not those of the sets in their order"),
        ({"set_id": ["a", None]}, "not those of the sets in their order"),
        ({"position": [1, 0]}, "not those of the sets in their order"),
        ({"position": [0, 2]}, "not those of the sets in their order"),
        ({"source": ["photos", None]}, "a member has no source"),
        ({"path": ["1", None]}, "a member of the set 'a' names no image"),
    ],
)
def test_members_that_are_not_those_of_the_sets_are_refused(
    tmp_path: Path, members: dict[str, list[object]], message: str
) -> None:
    sets = pa.table({"set_id": ["a"], "strategy": ["photos"], "size": [2]})
    with pytest.raises(BadInput, match=message):
        write_image_sets(tmp_path / "pairs", sets, pa.table({**MEMBERS, **members}), [PHOTOS], {})


@pytest.mark.parametrize("column", ["set_id", "strategy", "size"])
def test_a_set_without_an_id_a_strategy_or_a_size_is_refused(tmp_path: Path, column: str) -> None:
    sets = pa.table({"set_id": ["a"], "strategy": ["photos"], "size": [2]}).drop_columns([column])
    with pytest.raises(BadInput, match="a set has no set_id, no strategy or no size"):
        write_image_sets(tmp_path / "pairs", sets, pa.table(MEMBERS), [PHOTOS], {})


def test_a_set_that_comes_twice_is_refused_before_the_folder_is_complete(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"the set id '.*-0_1' comes twice"):
        write(tmp_path, [[0, 1], [2, 3], [0, 1]])
    with pytest.raises(BadInput, match=r"unfinished image sets|no image sets"):
        ImageSets.open(tmp_path / "pairs")


def test_an_id_that_comes_twice_in_different_parts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_sets, "PART_SETS", 2)
    with pytest.raises(BadInput, match=r"the set id '.*-0_1' comes twice"):
        write(tmp_path, [[0, 1], [2, 3], [4, 5], [6, 7], [0, 1]])


def test_a_source_that_is_not_described_or_has_a_slash_is_refused(tmp_path: Path) -> None:
    writer = ImageSetsWriter(tmp_path / "sets")
    writer.add_sets([ImageSet("a", "photos", (foreign_member("photos", 0, "1.jpg"),))])
    with pytest.raises(BadInput, match="the source 'photos', which is not described"):
        writer.finish([], {})
    with pytest.raises(BadInput, match="a name has no '/'"):
        ImageSetsWriter(tmp_path / "other").finish([replace(PHOTOS, name="a/b")], {})


def test_whole_groups_of_sets_without_images_keep_their_place(tmp_path: Path) -> None:
    names = [["a.jpg"] if at in (0, 700) else [] for at in range(900)]
    sets = write_foreign_sets(tmp_path, names)
    assert [place for place, each in enumerate(sets) if each.size] == [0, 700]
    assert sets[700].members[0].path == "a.jpg"
    assert sets[800].members == ()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (annotation("b", "a dog"), r"an annotation \(comparison\) names the set 'b', which is not"),
        (annotation("a", "a dog", images=(0, 1)), "shows its image 1, but the set has 1"),
    ],
)
def test_an_annotation_that_does_not_fit_its_set_is_refused(tmp_path: Path, said: Any, message: str) -> None:
    each = ImageSet("a", "photos", (foreign_member("photos", 0, "1.jpg"),), annotations=(said,))
    with pytest.raises(BadInput, match=message):
        ImageSetsWriter(tmp_path / "sets").add_sets([each])


def test_the_manifest_lists_the_sources_and_where_they_are_beside_the_sets(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg"]])
    (source,) = sets.manifest["sources"].values()
    assert source == {
        "kind": "files",
        "path": str(tmp_path / "photos"),
        "relative": "../photos",
        "collection": "photos",
        "licence": "CC BY 4.0",
    }


def test_forgotten_rows_have_no_key_and_no_caption_and_their_sets_are_hidden(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(6))
    forget(store, [1])
    sets = write(tmp_path, [[0, 1], [2, 3]], store=store)
    assert [member.row_id for member in sets[0].members] == [2, 3]
    (table,) = (Path(sets.path) / "members").glob("*.parquet")
    row = pq.read_table(table).to_pylist()[1]
    assert (row["row_id"], row["key"], row["caption"]) == (1, None, None)
