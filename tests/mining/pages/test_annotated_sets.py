"""Annotations with the corrections of a running service: seen at once, counted, found, written once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.pages import annotated_sets as module
from mining.pages.annotated_sets import AnnotatedSets
from mining.sets.annotation import Annotation
from mining.sets.corrections import read_corrections
from tests.mining.made_sets import annotation, texts_of
from tests.mining.pages.conftest import ODD, STORY


@pytest.fixture
def annotated(joined: ImageSets) -> AnnotatedSets:
    return AnnotatedSets(joined)


def correction(annotated: AnnotatedSets, place: int = 2, text: str = "The tail.") -> Annotation:
    each = next(annotated.read(np.array([place])))
    said = annotation(each.set_id, text, annotator="person:Ann", parent=each.annotations[0].annotation_id)
    annotated.add(said)
    return said


def test_a_correction_is_read_after_what_was_there(annotated: AnnotatedSets, joined: ImageSets) -> None:
    said = correction(annotated)
    each = next(annotated.read(np.array([2])))
    assert each.set_id == ODD
    assert each.annotations[-1] == said
    assert len(each.annotations) == 4, "its parent is read too"
    assert texts_of(next(annotated.read(np.array([3])))) == ["Words of the story."]
    again = ImageSets.open(joined.path).with_annotations(replaced=True)[2]
    assert again.annotations == each.annotations, "what is on the disk says the same"


def test_sets_are_found_by_kind_and_annotator_of_old_and_new_annotations(annotated: AnnotatedSets) -> None:
    assert annotated.numbers("comparison", None).tolist() == [2, 3]
    assert annotated.numbers("comparison", "second").tolist() == [2]
    assert annotated.numbers(None, "model").tolist() == [2, 3, 6]
    assert annotated.numbers(None, "person:Ann").tolist() == []
    correction(annotated, 3)
    assert annotated.numbers(None, "person:Ann").tolist() == [3]
    assert annotated.numbers("question", "person:Ann").tolist() == []


def test_the_sets_of_few_filters_are_kept(annotated: AnnotatedSets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotated._found, "most", 2)
    for name in ("model", "second", "teacher", "model"):
        assert len(annotated.numbers(None, name))
    assert len(annotated._found) == 2


def test_counts_have_the_corrections(annotated: AnnotatedSets) -> None:
    before = annotated.counts()
    correction(annotated)
    correction(annotated, text="The leg.")
    assert annotated.counts() == [
        *before[:1],
        {"kind": "comparison", "annotator": "person:Ann", "count": 2},
        *before[1:],
    ]


def test_the_same_correction_is_written_once(annotated: AnnotatedSets, joined: ImageSets) -> None:
    said = correction(annotated)
    annotated.add(said)
    assert read_corrections(joined.path) == [said]


def test_a_folder_without_annotations_has_none(pairs: ImageSets) -> None:
    annotated = AnnotatedSets(pairs)
    assert annotated.counts() == []
    assert annotated.numbers(None, "model").tolist() == []


def test_annotations_of_a_set_that_is_not_there_are_an_error_at_the_start(joined: ImageSets) -> None:
    AnnotatedSets(joined).add(replace(annotation(STORY, "x"), set_id="gone"))
    with pytest.raises(BadInput, match=r"corrections.jsonl: annotates the set 'gone', which is not among these"):
        AnnotatedSets(ImageSets.open(joined.path))


def test_a_remote_folder_is_not_corrected(joined: ImageSets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_local", lambda path: False)
    annotated = AnnotatedSets(joined)
    with pytest.raises(BadInput, match="is on no local disk, so nothing can be corrected"):
        correction(annotated)
    assert annotated.counts() == AnnotatedSets(joined).counts()
