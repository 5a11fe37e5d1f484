"""Annotations are appended only where each is of a set of the folder and its parent is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.sets.annotation import Annotation
from tests.mining.made_sets import annotation, write_sets


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    return write_sets(tmp_path, [[0, 1], [2, 3]])


def refused(sets: ImageSets, added: list[Annotation], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        sets.add_annotations(added, "part")
    assert not (Path(sets.path) / "annotations/part.json").exists()


def test_a_parent_may_be_in_the_folder_or_in_the_same_part(sets: ImageSets) -> None:
    first = annotation(sets[0].set_id, "one")
    second = annotation(sets[0].set_id, "two", parent=first.annotation_id)
    assert sets.add_annotations([second, first], "both") == 2
    third = annotation(sets[0].set_id, "three", parent=second.annotation_id)
    assert sets.add_annotations([third], "later") == 1
    assert sets.add_annotations([third], "later") == 1
    (last,) = ImageSets.open(sets.path).with_annotations()[0].annotations
    assert last == third


def test_a_parent_that_is_nowhere_or_of_another_set_is_refused(sets: ImageSets) -> None:
    refused(sets, [annotation(sets[0].set_id, "one", parent="nowhere")], "'nowhere', which is neither in the folder")
    first = annotation(sets[0].set_id, "one")
    other = annotation(sets[1].set_id, "two", parent=first.annotation_id)
    refused(sets, [first, other], f"which is of set '{sets[0].set_id}'")
    sets.add_annotations([first], "first")
    refused(sets, [other], f"which is of set '{sets[0].set_id}'")


def test_parents_in_a_circle_are_refused(sets: ImageSets) -> None:
    one, two, three = (annotation(sets[0].set_id, text) for text in ("one", "two", "three"))
    circle = [
        replace(one, parent=two.annotation_id),
        replace(two, parent=three.annotation_id),
        replace(three, parent=one.annotation_id),
    ]
    refused(sets, circle, "lead back to it")
    refused(sets, [replace(one, parent=one.annotation_id)], "has itself as its parent")


def test_sets_images_and_fields_are_checked(sets: ImageSets) -> None:
    refused(sets, [annotation("nothing", "one")], "has no set 'nothing'")
    refused(sets, [annotation(sets[0].set_id, "one", images=(2,))], "shows its image 2, but the set has 2")
    refused(sets, [replace(annotation(sets[0].set_id, "one"), kind="")], "has no kind")
