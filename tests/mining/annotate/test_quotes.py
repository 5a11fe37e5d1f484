from __future__ import annotations

import pytest

from index.errors import BadInput
from mining.annotate.quotes import (
    annotation_text,
    captions_of,
    image_names,
    labelled_captions,
    latest,
    number_word,
    source_of,
)
from mining.sets.image_set import Member
from tests.mining.annotate.made_pairs import COMPARED, compared, image_set, note


def test_captions_are_distinct_lines_and_five_at_most() -> None:
    member = Member(0, "photos", caption="A  dog\nruns", captions=("A dog runs", "", *"abcdefg"))

    assert captions_of(member) == ["A dog runs", "a", "b", "c", "d"]


def test_captions_have_labels_or_are_none() -> None:
    assert labelled_captions(image_set(("A dog", "A cat"))) == [
        ("Caption of image 1", "A dog"),
        ("Caption of image 2", "A cat"),
    ]
    assert labelled_captions(image_set(("A dog", None))) is None
    assert labelled_captions(image_set(())) is None


def test_images_are_named() -> None:
    assert image_names(2) == '"Image 1" and "Image 2"'
    assert image_names(3) == '"Image 1", "Image 2" and "Image 3"'
    assert (number_word(3), number_word(12)) == ("three", "12")


def test_a_source_is_a_kind_and_perhaps_an_annotator() -> None:
    assert source_of("difference_note") == ("difference_note", None)
    assert source_of("comparison/org/model") == ("comparison", "org/model")
    for text in ("", "/model", "comparison/"):
        with pytest.raises(BadInput, match="write KIND"):
            source_of(text)


def test_the_latest_annotation_of_a_source() -> None:
    said = (compared(annotator="one"), note("x"), compared(annotator="two"))

    assert latest(said, "comparison", None) == said[2]
    assert latest(said, "comparison", "one") == said[0]
    assert latest(said, "story", None) is None


def test_annotations_in_words() -> None:
    assert annotation_text(compared()) == COMPARED.text()
    assert annotation_text(note("The left bus is red.")) == "The left bus is red."
