"""Folders of image sets as one: counts add up, nothing is lost or mixed up, the same folders give the same bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput, OutputExists
from mining import ImageSets
from mining.sets import concat, write_sets
from mining.sets.concat import concat_image_sets
from mining.sets.corrections import CorrectionsFile
from mining.sets.decisions import DecisionsFile, read_decisions
from tests.folders import file_bytes
from tests.mining.made_sets import annotation, many_pairs, texts_of, write_foreign_sets
from tests.mining.made_sets import write_sets as write
from tests.retrieval.stores import forget, make_store, random_unit

VERSION_1 = Path(__file__).parent / "image_sets/version_1"


def mined(folder: Path, rows: list[list[int]], **more: Any) -> ImageSets:
    """Sets of an own store in FOLDER; stores of different sizes are different stores."""
    return write(folder, rows, **more)


def told(sets: ImageSets) -> list[tuple[str, list[str], list[str]]]:
    return [(each.set_id, [member.ref for member in each.members], texts_of(each)) for each in sets.with_annotations()]


def counts(sets: ImageSets) -> list[tuple[int, int, int, int]]:
    return [(each["sets"], each["kept"], each["repeated"], each["renamed"]) for each in sets.manifest["concat"]]


def test_a_mined_store_a_collection_and_texts_become_one_folder(tmp_path: Path) -> None:
    pairs = mined(tmp_path / "a", [[0, 1], [2, 3]], level=[1, 2])
    pairs.add_annotations([annotation(pairs[1].set_id, "a dog")], "phase-1")
    photos = write_foreign_sets(tmp_path / "b", [["x.jpg", "y.jpg"], [], ["z.jpg"]], texts=["left", "hello"])
    both = concat_image_sets([pairs.path, photos.path], tmp_path / "all")
    assert told(both) == [*told(ImageSets.open(pairs.path)), *told(photos)]
    assert list(both) == [*pairs, *photos]
    assert {**pairs.sources, **photos.sources}.keys() == both.sources.keys()
    assert both.store().path == tmp_path / "a/store"
    assert [source.relative for source in both.sources.values()] == ["../b/photos", "../a/store"]
    assert counts(both) == [(2, 2, 0, 0), (3, 3, 0, 0)]
    assert both.annotations.counts() == {("comparison", "model"): 3}
    assert both.filter(level=2, annotated="comparison")[0].rows == (2, 3)


def test_paths_are_rebased_to_where_the_sources_lie_now(tmp_path: Path) -> None:
    pairs = mined(tmp_path / "old/a", [[0, 1]])
    write_foreign_sets(tmp_path / "old/a", [["x.jpg"]])
    (tmp_path / "old").rename(tmp_path / "new")
    both = concat_image_sets([tmp_path / "new/a/pairs", tmp_path / "new/a/foreign"], tmp_path / "deep/er/all")
    assert both.store().path == tmp_path / "new/a/store"
    assert {source.path for source in both.sources.values()} == {
        str(tmp_path / "new/a/store"),
        str(tmp_path / "new/a/photos"),
    }
    assert {source.relative for source in both.sources.values()} == {"../../../new/a/store", "../../../new/a/photos"}
    assert not Path(pairs.path).exists()


def test_two_runs_over_one_store_share_the_source_and_their_repeated_sets(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(12))
    one = mined(tmp_path / "one", [[0, 1], [2, 3]], store=store, strategy=["overlap", "overlap"])
    two = mined(tmp_path / "two", [[4, 5], [2, 3], [1, 0]], store=store, strategy=["similar"] * 3)
    same = annotation(one[1].set_id, "the same")
    one.add_annotations([same, annotation(one[0].set_id, "one")], "a")
    two.add_annotations([same, annotation(two[1].set_id, "more"), annotation(two[0].set_id, "two")], "b")
    both = concat_image_sets([one.path, two.path], tmp_path / "all")
    assert [each.rows for each in both] == [(0, 1), (2, 3), (4, 5), (1, 0)]
    assert [texts_of(each) for each in both.with_annotations()] == [["one"], ["the same", "more"], ["two"], []]
    assert [each.strategy for each in both] == ["overlap", "overlap", "similar", "similar"]
    assert len(both.sources) == 1
    assert counts(both) == [(2, 2, 0, 0), (3, 2, 1, 0)]
    said = [
        (each["annotations"], each["annotations_kept"], each["annotations_repeated"])
        for each in both.manifest["concat"]
    ]
    assert said == [(2, 2, 0), (3, 2, 1)]


def test_the_same_folder_twice_is_kept_once(tmp_path: Path) -> None:
    photos = write_foreign_sets(tmp_path, [["x.jpg"], [], ["z.jpg"]], texts=["1", "2", "3"])
    both = concat_image_sets([photos.path, photos.path], tmp_path / "all")
    assert told(both) == told(photos)
    assert counts(both) == [(3, 3, 0, 0), (3, 0, 3, 0)]


def test_an_id_of_other_images_becomes_another_and_takes_its_annotations_along(tmp_path: Path) -> None:
    """Three collections number their sets alike; the third repeats the second's."""
    one = write_foreign_sets(tmp_path, [["a.jpg"], ["b.jpg"]], texts=["same text", "b"], out="one")
    two = write_foreign_sets(tmp_path, [["c.jpg"], ["d.jpg"]], texts=["same text", "d"], out="two")
    correction = annotation(
        "foreign-1", "corrected", annotator="Ann", parent=two.with_annotations()[1].annotations[0].annotation_id
    )
    CorrectionsFile(two.path).add(correction)
    three = write_foreign_sets(tmp_path, [["c.jpg"], ["e.jpg"]], texts=["another", "e"], out="three")
    both = concat_image_sets([one.path, two.path, three.path], tmp_path / "all")
    sets = [(each.set_id, each.members[0].path, texts_of(each)) for each in both.with_annotations()]
    assert sets == [
        ("foreign-0", "a.jpg", ["same text"]),
        ("foreign-1", "b.jpg", ["b"]),
        ("foreign-0~2", "c.jpg", ["same text", "another"]),
        ("foreign-1~2", "d.jpg", ["corrected"]),
        ("foreign-1~3", "e.jpg", ["e"]),
    ]
    assert [each.extra for each in both] == [
        {},
        {},
        {"original_set_id": "foreign-0"},
        {"original_set_id": "foreign-1"},
        {"original_set_id": "foreign-1"},
    ]
    assert counts(both) == [(2, 2, 0, 0), (2, 2, 0, 2), (2, 1, 1, 1)]
    again = concat_image_sets([both.path, two.path], tmp_path / "more")
    assert [each.set_id for each in again] == [*(each.set_id for each in both), "foreign-0~3", "foreign-1~4"]


def test_texts_of_one_id_are_the_same_where_they_say_the_same(tmp_path: Path) -> None:
    one = write_foreign_sets(tmp_path, [[], []], texts=["1", "2"], out="one")
    two = write_foreign_sets(tmp_path, [[], []], texts=["1", "3"], out="two")
    both = concat_image_sets([one.path, two.path], tmp_path / "all").with_annotations()
    assert [(each.set_id, texts_of(each)) for each in both] == [
        ("foreign-0", ["1"]),
        ("foreign-1", ["2"]),
        ("foreign-1~2", ["3"]),
    ]


def test_the_order_of_the_images_tells_sets_apart(tmp_path: Path) -> None:
    one = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]], out="one")
    two = write_foreign_sets(tmp_path, [["b.jpg", "a.jpg"]], out="two")
    assert [each.set_id for each in concat_image_sets([one.path, two.path], tmp_path / "all")] == [
        "foreign-0",
        "foreign-0~2",
    ]


def test_two_stores_of_one_identity_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    """The same model, parts and counts; the second is another corpus, the third a copy of the first."""
    one = mined(tmp_path / "one", [[0, 1]])
    keys = [f"other{row}" for row in range(12)]
    two = mined(tmp_path / "two", [[0, 1]], store=make_store(tmp_path / "two", random_unit(12), key=keys))
    shutil.copytree(tmp_path / "one", tmp_path / "three")
    three = ImageSets.open(tmp_path / "three/pairs")
    assert one.sources.keys() == two.sources.keys() == three.sources.keys()
    both = concat_image_sets([one.path, two.path, three.path], tmp_path / "all")
    (name,) = one.sources
    assert [(source.name, source.path) for source in both.sources.values()] == [
        (name, str(tmp_path / "one/store")),
        (f"{name}-2", str(tmp_path / "two/store")),
    ]
    assert [(each.members[0].source, each.members[0].key) for each in both] == [
        (name, "k0000"),
        (f"{name}-2", "other0"),
    ]
    assert counts(both) == [(1, 1, 0, 0), (1, 1, 0, 1), (1, 0, 1, 0)]
    assert both.manifest["notes"] == [
        f"{tmp_path}/one/store and {tmp_path}/two/store have one identity and different images: two stores"
    ]


def test_stores_of_one_name_that_cannot_be_compared_stay_two(tmp_path: Path) -> None:
    one, two = mined(tmp_path / "one", [[0, 1]]), mined(tmp_path / "two", [[2, 3]])
    shutil.rmtree(tmp_path / "two/store")
    both = concat_image_sets([one.path, two.path], tmp_path / "all")
    assert [source.path for source in both.sources.values()] == [
        str(tmp_path / "one/store"),
        str(tmp_path / "two/store"),
    ]
    assert "taken for two stores, since" in both.manifest["notes"][0]


def test_decisions_come_along_under_the_new_names(tmp_path: Path) -> None:
    one = mined(tmp_path / "one", [[0, 1], [2, 3]])
    keys = [f"other{row}" for row in range(12)]
    two = mined(tmp_path / "two", [[0, 1], [2, 3]], store=make_store(tmp_path / "two", random_unit(12), key=keys))
    texts = write_foreign_sets(tmp_path / "three", [[], ["a.jpg"]], texts=["hello"])
    more = write_foreign_sets(tmp_path / "four", [[], ["b.jpg"]], texts=["hi"])
    DecisionsFile(Path(one.path) / "decisions.jsonl").add(one[0], "reject", one.sources)
    DecisionsFile(Path(two.path) / "decisions.jsonl").add(two[1], "reject", two.sources)
    DecisionsFile(Path(more.path) / "decisions.jsonl").add(more[0], "reject", more.sources)
    DecisionsFile(Path(more.path) / "decisions.jsonl").add(more[1], "reject", more.sources)
    both = concat_image_sets([one.path, two.path, texts.path, more.path], tmp_path / "all")
    kept = [
        (each.strategy, each.rows or each.set_id, each.members[0].key if each.members else None) for each in both.kept()
    ]
    assert [each["decisions"] for each in both.manifest["concat"]] == [1, 1, 0, 2]
    assert kept == [
        ("random", (2, 3), "k0002"),
        ("random", (0, 1), "other0"),
        ("photos", "foreign-0", None),
        ("photos", (None,), None),
    ]


def test_decisions_of_version_1_hold_for_the_store_of_their_folder_alone(tmp_path: Path) -> None:
    shutil.copytree(VERSION_1, tmp_path / "old")
    line = {"rows": [1, 0], "strategy": "overlap", "decision": "reject", "time": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "old/decisions.jsonl").write_text(json.dumps(line) + "\n")
    new = mined(tmp_path / "new", [[0, 1], [2, 3]])
    both = concat_image_sets([tmp_path / "old", new.path], tmp_path / "all")
    assert [each.rows for each in both.kept()] == [(3, 2), (4, 5, 6), (0, 1), (2, 3)]
    assert both[2].members[0].extra == {"entity": "Lionel"}
    (name,) = ImageSets.open(tmp_path / "old").sources
    assert read_decisions(tmp_path / "all/decisions.jsonl").rejected == {(f"{name}/0", f"{name}/1")}


def test_the_last_decision_holds_over_all_folders(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(12))
    one, two = (mined(tmp_path / name, [[0, 1]], store=store) for name in ("one", "two"))
    DecisionsFile(Path(one.path) / "decisions.jsonl").add(one[0], "reject", one.sources)
    DecisionsFile(Path(two.path) / "decisions.jsonl").add(two[0], "keep", two.sources)
    assert len(concat_image_sets([one.path, two.path], tmp_path / "all").kept()) == 1
    assert len(concat_image_sets([two.path, one.path], tmp_path / "other").kept()) == 0


def folders(tmp_path: Path) -> list[str]:
    """700 mined pairs and 600 sets of files, all annotated; some ids come twice."""
    pairs = mined(tmp_path / "a", many_pairs(50, 700), images=50)
    pairs.add_annotations([annotation(each.set_id, str(place)) for place, each in enumerate(pairs)], "first")
    names = [[f"{number}.jpg"] if number % 3 else [] for number in range(600)]
    texts = [str(number) for number in range(600)]
    one = write_foreign_sets(tmp_path, names, texts=texts, out="one")
    others = [f"b {text}" for text in texts]
    two = write_foreign_sets(tmp_path, [*names[:300], *names[:299:-1]], texts=others, out="two")
    return [pairs.path, one.path, two.path]


def test_the_same_folders_give_the_same_bytes_killed_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_sets, "PART_SETS", 500)
    monkeypatch.setattr(concat, "PART_SETS", 500)
    inputs = folders(tmp_path)
    out = tmp_path / "all"
    sets = concat_image_sets(inputs, out)
    whole = file_bytes(out)
    assert sum(each["kept"] for each in sets.manifest["concat"]) == len(sets)
    assert sum(each["annotations_kept"] for each in sets.manifest["concat"]) == len(sets.annotations)
    assert {len(each.annotations) for each in sets.with_annotations()} == {1, 2}
    shutil.rmtree(out)
    written = 0

    def killed(*args: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:
            raise KeyboardInterrupt
        write_part(*args)

    write_part = write_sets.ImageSetsWriter._write_part
    with monkeypatch.context() as patch:
        patch.setattr(write_sets.ImageSetsWriter, "_write_part", killed)
        with pytest.raises(KeyboardInterrupt):
            concat_image_sets(inputs, out)
    with pytest.raises(BadInput, match="unfinished image sets: run the same command again"):
        ImageSets.open(out)
    concat_image_sets(inputs, out)
    assert file_bytes(out) == whole
    (out / "decisions.jsonl").write_text("")
    concat_image_sets(inputs, out)  # finished: opened, and what people wrote since stays
    assert file_bytes(out) == {**whole, "decisions.jsonl": b""}


def test_a_folder_of_another_concat_or_of_anything_else_is_refused(tmp_path: Path) -> None:
    one = write_foreign_sets(tmp_path, [["a.jpg"]], out="one")
    two = write_foreign_sets(tmp_path, [["b.jpg"]], out="two")
    concat_image_sets([one.path], tmp_path / "all")
    with pytest.raises(OutputExists, match="holds the output of another configuration"):
        concat_image_sets([one.path, two.path], tmp_path / "all")
    one.add_annotations([annotation("foreign-0", "new", images=(0,))], "new")
    with pytest.raises(OutputExists, match="holds the output of another configuration"):
        concat_image_sets([one.path], tmp_path / "all")
    with pytest.raises(BadInput, match="is one of the folders to join"):
        concat_image_sets([one.path, two.path], f"{two.path}/../two")
    with pytest.raises(OutputExists, match="is not empty"):
        concat_image_sets([one.path], tmp_path / "photos")
    with pytest.raises(BadInput, match="name the folders"):
        concat_image_sets([], tmp_path / "none")
    with pytest.raises(BadInput, match="no image sets"):
        concat_image_sets([one.path, tmp_path / "nothing"], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_an_annotation_of_no_set_is_named(tmp_path: Path) -> None:
    from mining.sets.annotations import append_annotations

    one = write_foreign_sets(tmp_path, [["a.jpg"]], out="one")
    append_annotations(one.path, [annotation("lost", "x")], "part")
    with pytest.raises(BadInput, match=r"one.*: an annotation is of the set 'lost', which is not there"):
        concat_image_sets([one.path], tmp_path / "all")
    assert not (tmp_path / "all").exists()  # free for the corrected command


def test_folders_of_an_object_store_are_joined(tmp_path: Path) -> None:
    pairs = mined(tmp_path / "a", [[0, 1]])
    photos = write_foreign_sets(tmp_path / "b", [["x.jpg"]], texts=["x"])
    both = concat_image_sets([pairs.path, photos.path], "memory://joined/all")
    assert told(ImageSets.open("memory://joined/all")) == [*told(pairs), *told(photos)]
    again = concat_image_sets([both.path], tmp_path / "all")
    assert told(again) == told(both)
    assert again.store().path == tmp_path / "a/store"


def test_equal_images_of_several_sources_are_on_one_side_of_a_split(tmp_path: Path) -> None:
    one = write_foreign_sets(tmp_path / "a", [[f"{at}.jpg"] for at in range(20)], collection="a")
    two = write_foreign_sets(tmp_path / "b", [[f"{at}.jpg"] for at in range(20)], collection="b")
    both = concat_image_sets([one.path, two.path], tmp_path / "all")
    split = both.split({"train": 0.5, "test": 0.5})
    sides = [{member.path for each in part for member in each.members} for part in split.values()]
    assert not sides[0] & sides[1]
    assert split.counts() == {"train": 20, "test": 20, "straddling": 0}
    assert np.unique(both.images()[0]).size == 20


def test_a_part_of_annotations_with_other_rows_than_its_marker_says_is_not_joined(tmp_path: Path) -> None:
    """The counts would not add up: what the marker says was neither kept nor repeated."""
    sets = write(tmp_path, [[0, 1]])
    sets.add_annotations([annotation(sets[0].set_id, "a dog")], "said")
    marker = Path(sets.path) / "annotations/said.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "rows": 99}))
    with pytest.raises(BadInput, match=r"said.parquet: missing or damaged \(has 1 rows, its marker says 99\)"):
        concat_image_sets([sets.path], tmp_path / "out")


def test_sets_with_forgotten_rows_and_what_was_said_of_them_stay_out(tmp_path: Path) -> None:
    pairs = mined(tmp_path / "a", [[0, 1], [2, 3], [4, 5]])
    pairs.add_annotations([annotation(each.set_id, f"said of {each.rows[0]}") for each in pairs], "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    forget(pairs.store(), [3])
    forget(ImageSets.open(tmp_path / "b/pairs").store(), [3])
    both = concat_image_sets([pairs.path, tmp_path / "b/pairs"], tmp_path / "again")
    assert [(each.rows, texts_of(each)) for each in both.with_annotations()] == [
        ((0, 1), ["said of 0"]),
        ((4, 5), ["said of 4"]),
    ]
    for own in both.manifest["concat"]:
        assert own["sets"] == own["kept"] + own["repeated"] + own["forgotten"] == 3
        said = own["annotations_kept"] + own["annotations_repeated"] + own["annotations_forgotten"]
        assert (own["annotations"], said, own["forgotten"]) == (3, 3, 1)
