"""One sample: its id, its turns, and the reasons why a set gives none."""

from __future__ import annotations

import pytest

from index.errors import BadInput
from mining.export.sample import Sample, Wording
from mining.export.skipped import SkippedSet
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.image_set import ImageSet, Member

PAIR = ImageSet("a", "random", (Member(0, "photos", caption="a dog"), Member(1, "photos", caption="a cat")))
TEXT = ImageSet("t", "llava", ())


def annotation(*turns: Turn) -> Annotation:
    return Annotation.make("a", "comparison", Annotator("model"), turns)


def test_the_annotations_id_is_in_the_samples_where_the_set_has_several() -> None:
    said = annotation(Turn("user", (1, "Why?")), Turn("assistant", ("So.",)))
    one, more = (Wording().of_annotation(PAIR, said, several) for several in (False, True))
    assert isinstance(one, Sample)
    assert isinstance(more, Sample)
    assert (one.sample_id, more.sample_id) == ("a", f"a-{said.annotation_id}")
    assert (one.annotation, one.shown) == (said, (1,))


def test_turns_that_cannot_be_used_skip_the_set_and_those_of_a_function_are_an_error() -> None:
    found = Wording().of_annotation(PAIR, annotation(Turn("user", ("Why?",))), False)
    assert found == SkippedSet("a", None, None, "the turns have no answer (role assistant) to learn from")
    with pytest.raises(BadInput, match="set a: the turns have no answer"):
        Wording(answer=lambda each: [Turn("user", ("Why?",))]).of_set(PAIR)


def test_a_set_without_a_text_says_what_it_lacks() -> None:
    assert Wording().of_set(TEXT) == SkippedSet("t", None, None, "without a conversation")
    assert Wording().of_set(ImageSet("b", "random", (Member(0, "photos"),))) == SkippedSet(
        "b", None, None, "without a caption"
    )
    assert Wording(answer=lambda each: None).of_set(PAIR) == SkippedSet("a", None, None, "without an answer")
    assert Wording(silent=True).of_set(TEXT) == Sample("t", TEXT, None, ())


def test_an_unknown_template_is_an_error_before_anything_is_read() -> None:
    with pytest.raises(BadInput, match="template 'vicuna'"):
        Wording(template="vicuna")
