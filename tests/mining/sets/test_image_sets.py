from __future__ import annotations

import hashlib
import json
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import mining
from index.errors import BadInput, StoreInvalid
from mining import ImageSets, export
from mining.sets.decisions import Decisions, DecisionsFile
from tests.mining.made_sets import annotation, file_of, many_pairs, texts_of, write_foreign_sets, write_sets
from tests.retrieval.stores import forget, make_store, random_unit

SCHEMA = json.loads((Path(__file__).parents[3] / "docs/image-sets.schema.json").read_text())


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    return write_sets(
        tmp_path,
        [[0, 1], [2, 3], [4, 5], [8, 7, 6]],
        strategy=["overlap", "overlap", "similar", "identity"],
        level=[4, 6, 1, 1],
        image_sim=[0.2, 0.4, 0.8, None],
        text_sim=[0.9, None, 0.5, None],
        shared_nouns=[["dog", "ball", "tree", "man"], ["dog", "cat"], [], []],
        concept=[None, "dog", "cat", None],
        entity=[None, None, None, "Lionel"],
    )


def ids(sets: ImageSets) -> list[str]:
    """The rows of each set, as version 1 named sets."""
    return ["_".join(str(row) for row in each.rows) for each in sets]


def test_what_is_exported_is_there() -> None:
    assert all(hasattr(mining, name) for name in mining.__all__)


def test_a_set_comes_back_with_its_members_in_their_order(sets: ImageSets) -> None:
    assert len(sets) == 4
    story = sets[3]
    name = next(iter(sets.sources))
    assert story.set_id == f"{name.removeprefix('store-')[:8]}-8_7_6"
    assert (story.rows, story.size, story.entity) == ((8, 7, 6), 3, "Lionel")
    assert {member.source for member in story.members} == {name}
    assert [member.position for member in story.members] == [0, 1, 2]
    assert story.captions == ("caption 8", "caption 7", "caption 6")
    assert [member.key for member in story.members] == ["k0008", "k0007", "k0006"]
    assert [member.extra for member in story.members] == [{"truth": 8}, {"truth": 7}, {"truth": 6}]
    assert [member.captions for member in story.members] == [("caption 8",), ("caption 7",), ("caption 6",)]
    first = sets[0]
    assert (first.strategy, first.level, first.image_sim, first.text_sim) == ("overlap", 4, 0.2, 0.9)
    assert first.shared_nouns == ("dog", "ball", "tree", "man")
    assert first.reasons == ("drawn by chance",)


def test_iteration_keeps_the_order_of_the_view(sets: ImageSets) -> None:
    assert ids(sets) == ["0_1", "2_3", "4_5", "8_7_6"]
    assert ids(sets[::-1]) == ["8_7_6", "4_5", "2_3", "0_1"]
    assert sets[-1].rows == (8, 7, 6)
    assert sets[1:][0].rows == (2, 3)
    with pytest.raises(IndexError):
        sets[4]


def test_filters_are_joined_by_and(sets: ImageSets) -> None:
    assert ids(sets.filter(strategy="overlap")) == ["0_1", "2_3"]
    assert ids(sets.filter(strategy=["overlap", "similar"], level=[1, 6])) == ["2_3", "4_5"]
    assert ids(sets.filter(strategy="overlap", min_level=5)) == ["2_3"]
    assert ids(sets.filter(max_level=4, size=2)) == ["0_1", "4_5"]
    assert ids(sets.filter(shared_nouns="dog")) == ["0_1", "2_3"]
    assert ids(sets.filter(shared_nouns=["dog", "ball"])) == ["0_1"]
    assert ids(sets.filter(concept=["dog", "cat"])) == ["2_3", "4_5"]
    assert ids(sets.filter(entity="Lionel")) == ["8_7_6"]
    assert ids(sets.filter(axis="color")) == []
    assert ids(sets.filter(strategy="overlap").filter(level=6)) == ["2_3"]
    assert ids(sets.filter()) == ids(sets)


def test_a_set_without_a_similarity_meets_no_bound_on_it(sets: ImageSets) -> None:
    assert ids(sets.filter(min_image_sim=0.4)) == ["2_3", "4_5"]
    assert ids(sets.filter(max_image_sim=0.4)) == ["0_1", "2_3"]
    assert ids(sets.filter(min_text_sim=-1)) == ["0_1", "4_5"]


def test_what_was_rejected_in_whatever_order_is_filtered_out(sets: ImageSets) -> None:
    decisions = Decisions(
        {("*/0", "*/1"): "reject", sets[3].refs: "reject", ("*/2", "*/3"): "keep", ("*/1", "*/2"): "reject"}
    )
    assert ids(sets.filter(decisions=decisions)) == ["2_3", "4_5"]


def test_kept_skips_what_the_decisions_in_the_folder_reject(sets: ImageSets) -> None:
    assert ids(sets.kept()) == ids(sets)
    file = DecisionsFile(Path(sets.path) / "decisions.jsonl")
    file.add(sets[1], "reject", sets.sources)
    file.add(sets[2], "reject", sets.sources)
    file.add(sets[2], "keep", sets.sources)
    assert ids(sets.kept()) == ["0_1", "4_5", "8_7_6"]
    assert ids(sets.filter(strategy="overlap").kept()) == ["0_1"]


def test_an_unknown_strategy_is_named_with_those_there_are(sets: ImageSets) -> None:
    with pytest.raises(BadInput, match=r"no sets of strategy 'overlapp'; it has identity, overlap, similar"):
        sets.filter(strategy="overlapp")


def test_a_filter_is_lazy_and_a_view_travels(sets: ImageSets) -> None:
    view = sets.filter(strategy="overlap")
    assert "numbers" not in vars(view)
    assert ids(pickle.loads(pickle.dumps(view))) == ["0_1", "2_3"]
    assert ids(view[::-1]) == ["2_3", "0_1"]
    assert repr(view).endswith("2 of 4 sets>")


def test_counts_by_strategy_and_level(sets: ImageSets) -> None:
    assert sets.counts() == {("identity", 1): 1, ("overlap", 4): 1, ("overlap", 6): 1, ("similar", 1): 1}
    assert sets.filter(strategy="similar").counts() == {("similar", 1): 1}
    assert sets.strategies == ("identity", "overlap", "similar")


def test_more_sets_than_a_group_holds_come_out_in_any_order(tmp_path: Path) -> None:
    rows = many_pairs(100, 2_500)
    sets = write_sets(tmp_path, rows, images=100)
    assert len(sets) == 2_500
    assert [list(each.rows) for each in sets] == rows
    backwards = sets[::-7]
    assert [list(each.rows) for each in backwards] == rows[::-7]
    assert list(sets[1_234].rows) == rows[1_234]


def test_every_set_as_json_meets_the_schema(sets: ImageSets) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for each in annotated(sets).with_annotations():
        fields = json.loads(json.dumps(each.to_json(), allow_nan=False))
        jsonschema.validate(fields, SCHEMA)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**fields, "more": 1}, SCHEMA)


def test_sets_are_selected_by_their_place_in_the_view(sets: ImageSets) -> None:
    view = sets[::-1]
    assert ids(view.select([0, 2])) == ["8_7_6", "2_3"]
    assert ids(view.select([-1, 0, 0])) == ["0_1", "8_7_6", "8_7_6"]
    assert ids(view.select(np.array([True, False, False, True]))) == ["8_7_6", "0_1"]
    assert ids(sets.filter(level=1).select([1])) == ["8_7_6"]
    assert ids(view.select([])) == []
    assert ids(view.select(range(2)).select([1])) == ["4_5"]


@pytest.mark.parametrize("places", [[4], [-5], [0.5], [[0]], [True, False], ["0"]])
def test_a_place_that_the_view_does_not_have_is_an_error(sets: ImageSets, places: Any) -> None:
    with pytest.raises(BadInput, match=r"has no place -?\d; this view has 4 sets|places are integers"):
        sets.select(places)


def test_annotations_come_with_the_sets_of_a_view(sets: ImageSets) -> None:
    names = [each.set_id for each in sets]
    first = annotation(names[2], "a cat")
    said = [first, annotation(names[0], "a dog"), annotation(names[0], "two dogs", "question", "people")]
    assert sets.add_annotations(said, "first") == 3
    assert sets.add_annotations([annotation(names[2], "a lynx", annotator="Ann", parent=first.annotation_id)], "a") == 1
    opened = ImageSets.open(sets.path)
    assert [texts_of(each) for each in opened] == [[], [], [], []]
    annotated = opened.with_annotations()
    assert [texts_of(each) for each in annotated] == [["a dog", "two dogs"], [], ["a lynx"], []]
    assert texts_of(annotated[0]) == ["a dog", "two dogs"]
    assert [texts_of(each) for each in annotated[::-2]] == [[], []]
    assert [texts_of(each) for each in annotated.select([2, 0, 2])] == [["a lynx"], ["a dog", "two dogs"], ["a lynx"]]
    assert [texts_of(each) for each in annotated.filter(level=1)] == [["a lynx"], []]
    assert texts_of(opened.filter(level=1).with_annotations(replaced=True)[0]) == ["a lynx", "a cat"]
    assert [texts_of(each) for each in opened.with_annotations("question")] == [["two dogs"], [], [], []]
    assert [texts_of(each) for each in opened.with_annotations(annotator=["Ann", "people"])][2] == ["a lynx"]
    assert opened.annotations.counts() == {
        ("comparison", "Ann"): 1,
        ("comparison", "model"): 2,
        ("question", "people"): 1,
    }
    with pytest.raises(BadInput, match="has no annotations of kind 'story'; it has comparison, question"):
        opened.with_annotations("story")


def test_sets_are_filtered_by_their_annotations(sets: ImageSets) -> None:
    with pytest.raises(BadInput, match="has no annotations of kind 'comparison'; it has none"):
        sets.filter(annotated="comparison")
    opened = annotated(sets)
    assert ids(opened.filter(annotated="comparison")) == ["0_1", "2_3"]
    assert ids(opened.filter(annotated=["comparison", "question"], annotator="people")) == ["4_5"]
    assert ids(opened.filter(annotator="people").filter(strategy="overlap")) == []
    with pytest.raises(BadInput, match="of annotator 'nobody'; it has model, people"):
        opened.filter(annotator="nobody")


def test_a_view_with_annotations_travels_and_splits(sets: ImageSets) -> None:
    view = annotated(sets).filter(size=2).with_annotations("comparison")
    again = pickle.loads(pickle.dumps(view))
    sets.add_annotations([annotation(sets[2].set_id, "later")], "later")
    assert [texts_of(each) for each in again] == [["one"], ["two"], []]
    split = view.split({"a": 0.5, "b": 0.5}, near_duplicates=None)
    assert sorted(text for part in split.values() for each in part for text in texts_of(each)) == ["one", "two"]


def test_annotated_sets_are_read_in_the_processes_of_a_loader(sets: ImageSets) -> None:
    view = annotated(sets).with_annotations()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        assert process.submit(texts_of, view[1]).result() == ["two"]
        assert list(process.submit(_all_texts, view).result()) == [["one"], ["two"], ["three"], []]


def annotated(sets: ImageSets) -> ImageSets:
    """The sets, opened again after the first three were annotated."""
    kinds = ("comparison", "comparison", "question")
    said = [
        annotation(each.set_id, text, kind, "people" if kind == "question" else "model")
        for each, text, kind in zip(sets, ("one", "two", "three"), kinds, strict=False)
    ]
    sets.add_annotations(said, "said")
    return ImageSets.open(sets.path)


def _all_texts(sets: ImageSets) -> list[list[str]]:
    return [texts_of(each) for each in sets]


def test_an_annotation_of_a_set_or_an_image_that_is_not_there_is_refused(sets: ImageSets) -> None:
    with pytest.raises(BadInput, match=r"has no set 'nothing', which an annotation \(comparison\) names"):
        sets.add_annotations([annotation("nothing", "a dog")], "part")
    with pytest.raises(BadInput, match=r"shows its image 2, but the set has 2"):
        sets.add_annotations([annotation(sets[0].set_id, "a dog", images=(0, 2))], "part")
    with pytest.raises(BadInput, match="a part's name has letters"):
        sets.add_annotations([annotation(sets[0].set_id, "a dog")], "../part")
    assert not (Path(sets.path) / "annotations").exists()


def test_images_are_numbered_alike_in_every_view(sets: ImageSets) -> None:
    images, owners = sets.images()
    assert (images.tolist(), owners.tolist()) == (list(range(9)), [0, 0, 1, 1, 2, 2, 3, 3, 3])
    some = sets.select([3, 0, 0])
    images, owners = some.images()
    assert (images.tolist(), owners.tolist()) == ([6, 7, 8, 0, 1, 0, 1], [0, 0, 0, 1, 1, 2, 2])


def test_sets_of_files_have_no_store(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"come from 0 stores \(none\)"):
        write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]]).store()


def test_sets_of_none_one_and_many_images_stand_together(tmp_path: Path) -> None:
    names = [[], ["a.jpg"], ["a.jpg", "b/c.jpg", "d.jpg"], []]
    sets = write_foreign_sets(tmp_path, names, texts=["hello", "one", "three"], split=["train", None, "held-out", None])
    assert [[member.path for member in each.members] for each in sets] == names
    assert [texts_of(each) for each in sets.with_annotations()] == [["hello"], ["one"], ["three"], []]
    assert [each.set_id for each in sets.filter(split="held-out")] == ["foreign-2"]
    with pytest.raises(BadInput, match="has no sets of split 'heldout'; it has held-out, train"):
        sets.filter(split=["train", "heldout"])
    assert [each.set_id for each in sets.filter(size=[0, 1])] == ["foreign-0", "foreign-1", "foreign-3"]
    member = sets[2].members[1]
    assert (member.row_id, member.sha256) == (None, hashlib.sha256(file_of("b/c.jpg")).hexdigest())
    assert (member.extra, member.caption) == ({"box": [0, 0, 1, 1]}, "caption of b/c.jpg")


def test_the_store_is_found_where_it_was_moved_along(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    write_sets(tmp_path / "here", [[0, 1]])
    (tmp_path / "here").rename(tmp_path / "there")
    assert ImageSets.open(tmp_path / "there/pairs").store().path == tmp_path / "there/store"


def test_another_store_is_an_error(tmp_path: Path, sets: ImageSets) -> None:
    other = make_store(tmp_path / "other", random_unit(5))
    with pytest.raises(StoreInvalid, match="is not the store that"):
        sets.store(other.path)


def test_what_the_export_wing_offers_is_there() -> None:
    assert all(callable(getattr(export, name)) for name in export.__all__)


def test_a_condition_of_another_type_is_one_line_and_an_empty_list_is_met_by_no_set(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg"], ["b.jpg"]], texts=["one", "two"])
    wrong: list[dict[str, Any]] = [
        {"level": "x"},
        {"strategy": 5},
        {"annotator": 5},
        {"annotated": 5},
        {"shared_nouns": 5},
        {"min_level": float("nan")},
        {"max_text_sim": float("nan")},
    ]
    for conditions in wrong:
        with pytest.raises(BadInput, match=f"filter: {next(iter(conditions))} is "):
            sets.filter(**conditions)
    for name in ("strategy", "level", "size", "split", "axis", "annotated", "annotator"):
        nothing: dict[str, Any] = {name: []}
        assert len(sets.filter(**nothing)) == 0, name
    assert len(sets.filter(shared_nouns=[])) == 2
    assert len(sets.filter(level=[0, 7])) == len(sets.filter(level=0)) == 2


def test_sets_with_a_forgotten_row_are_hidden_from_every_view(sets: ImageSets) -> None:
    sets.add_annotations([annotation(sets[place].set_id, f"said {place}") for place in (0, 1)], "a")
    forget(sets.store(), [3, 11])
    found = ImageSets.open(sets.path)
    assert (len(found), found.forgotten) == (3, 1)
    assert ids(found) == ["0_1", "4_5", "8_7_6"]
    assert "3 of 4 sets, 1 with forgotten rows" in repr(found)
    assert found.counts() == {("identity", 1): 1, ("overlap", 4): 1, ("similar", 1): 1}
    assert found.table(["level"])["level"].to_pylist() == [4, 1, 1]
    assert ids(found.filter(strategy="overlap")) == ["0_1"]
    assert ids(found[1:]) == ids(found.select([1, 2])) == ["4_5", "8_7_6"]
    assert found[1].rows == (4, 5)
    assert sum(map(len, found.split({"a": 0.5, "b": 0.5}).values())) <= 3
    assert [len(each.annotations) for each in found.with_annotations()] == [1, 0, 0]
    assert max(found.images()[1]) == 2
    again = pickle.loads(pickle.dumps(found))
    assert ids(again) == ids(found)
    assert [sample["set_id"] for sample in export.to_datasets(found)] == [each.set_id for each in found]


def test_rows_forgotten_in_a_moved_store_are_hidden_where_it_is_named(sets: ImageSets, tmp_path: Path) -> None:
    forget(sets.store(), [3])
    (tmp_path / "store").rename(tmp_path / "moved")
    assert len(ImageSets.open(sets.path)) == 4
    assert len(ImageSets.open(sets.path, moved=tmp_path / "moved")) == 3
