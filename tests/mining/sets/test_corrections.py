"""Corrections are read as annotations, stay what they are through a file, and replace what they correct."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.corrections import CorrectionsFile, corrections_path, read_corrections
from tests.mining.made_sets import write_sets

TURNS = (Turn("user", (0, " and ", 1, ": what differs? <image>")), Turn("assistant", ("The bus",)))


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    sets = write_sets(tmp_path, [[0, 1], [2, 3]])
    model = Annotator("a-model", "1", "3f00", {"temperature": 0.2})
    sets.add_annotations([Annotation.make(each.set_id, "comparison", model, TURNS) for each in sets], "phase-1")
    return ImageSets.open(sets.path)


def corrected(old: Annotation, text: str, person: str = "person:Ann") -> Annotation:
    turns = (*old.turns[:-1], Turn("assistant", (text,)))
    return Annotation.make(old.set_id, old.kind, Annotator(person), turns, {"options": ["a", "b"]}, old.annotation_id)


def test_a_correction_replaces_its_parent_and_is_itself_corrected(sets: ImageSets) -> None:
    old = sets.with_annotations()[1].annotations[0]
    file = CorrectionsFile(sets.path)
    first = corrected(old, "The red bus\u2028\u202ex")
    second = corrected(first, "The blue bus", "person:Bo")
    file.add(first)
    assert ImageSets.open(sets.path).with_annotations()[1].annotations == (first,)
    file.add(second)
    again = ImageSets.open(sets.path)
    assert again.with_annotations()[1].annotations == (second,)
    assert again.with_annotations(replaced=True)[1].annotations == (old, first, second)
    assert again.with_annotations()[0].annotations[0].annotator.name == "a-model", "another set keeps its own"
    assert again.annotations.counts() == {
        ("comparison", "a-model"): 2,
        ("comparison", "person:Ann"): 1,
        ("comparison", "person:Bo"): 1,
    }
    assert len(again.annotations) == 4
    assert [each.set_id for each in again.filter(annotator="person:Bo")] == [old.set_id]
    assert again.with_annotations("comparison", "a-model")[1].annotations == (second,), "in the place of the original"
    assert len(again.filter(annotated="comparison", annotator="a-model")) == 2
    assert pickle.loads(pickle.dumps(again.annotations)).read([3]) == [second]


def test_a_correction_is_among_the_annotations_with_turns(sets: ImageSets) -> None:
    old = sets.with_annotations()[1].annotations[0]
    first = corrected(old, "The red bus")
    CorrectionsFile(sets.path).add(first)
    again = ImageSets.open(sets.path)
    assert again.annotations.turn_counts().tolist() == [2, 2, 2]
    places, numbers = again.chosen_annotations("comparison").places(again.numbers, with_turns=True)
    assert places.tolist() == [0, 1]
    assert again.annotations.read(numbers)[1] == first


def test_no_file_is_no_correction(sets: ImageSets) -> None:
    assert read_corrections(sets.path) == []


def test_a_line_that_comes_twice_counts_once_and_a_cut_one_not(sets: ImageSets) -> None:
    old = sets.with_annotations()[0].annotations[0]
    file = CorrectionsFile(sets.path)
    file.add(corrected(old, "The bus"))
    file.add(corrected(old, "The bus"))
    with open(file.path, "a") as stream:
        stream.write('{"set_id": "')
    assert read_corrections(sets.path) == [corrected(old, "The bus")]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"kind": ""}, "'' is not a text"),
        ({"turns": [{"role": "cook", "parts": []}]}, "a turn's role is system, user, assistant"),
        ({"turns": [{"role": "user", "parts": [{"image": True}]}]}, "an image's position is a number"),
        ({"turns": [{"role": "user", "parts": [{"image": -1}]}]}, "an image's position is a number"),
        ({"turns": [{"role": "user", "parts": [{"sound": 1}]}]}, "'image' is missing"),
        ({"turns": [{"role": "user", "parts": "text"}]}, "is not an annotation"),
        ({"content": [1]}, "is not an object"),
        ({"annotator": "Ann"}, "is not an annotation"),
        ({"parent": 3}, "3 is not a text"),
    ],
)
def test_a_broken_line_is_named_with_its_number(sets: ImageSets, change: dict[str, object], what: str) -> None:
    old = sets.with_annotations()[0].annotations[0]
    path = Path(corrections_path(sets.path))
    path.write_text(json.dumps({"set_id": old.set_id, **old.to_json(), **change}) + "\n")
    with pytest.raises(BadInput, match=r"corrections.jsonl, line 1: is not an annotation") as caught:
        ImageSets.open(sets.path).with_annotations()[0]
    assert what in str(caught.value)
