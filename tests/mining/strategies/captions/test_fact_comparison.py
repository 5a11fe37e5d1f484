"""The only fact in which two captions, or the metadata of two rows, contradict each other."""

from __future__ import annotations

import pytest

from mining.strategies.captions.fact_comparison import Difference, difference_of_captions, difference_of_metadata
from mining.text.caption_facts import facts_of


def captions(one: str, other: str) -> Difference | None:
    return difference_of_captions(facts_of(one), facts_of(other))


def test_captions_that_contradict_each_other_once_differ_in_that() -> None:
    found = captions("a brown dog on the beach", "the black dog on a beach")
    assert found is not None
    assert (found.axis, found.owner, found.one, found.other, found.unstated) == ("color", "dog", "brown", "black", 0)


def test_what_one_caption_leaves_out_is_no_difference_but_counted() -> None:
    found = captions("a brown dog runs on the beach", "a black dog")
    assert found is not None
    assert found.axis == "color"
    assert found.unstated > 0
    assert captions("a red ball on a bed", "a ball on a bed") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a brown dog sleeps", "a black dog runs"),  # in two facts
        ("a brown dog", "a black cat"),  # of two things
        ("a man by a red car", "a man by a blue car"),  # not of the subject
        ("a black dog", "a black and white dog"),  # both may be true
        ("a dog", "a dog"),
        ("", "a dog"),
    ],
)
def test_captions_without_a_single_difference_of_their_subject_have_none(one: str, other: str) -> None:
    assert captions(one, other) is None


def test_differences_of_degree_have_a_comparative() -> None:
    found = captions("a smooth vase on a table", "a rough vase on a table")
    assert found is not None
    assert (found.axis, found.degree) == ("texture", "rougher")
    more = captions("two dogs on a beach", "three dogs on a beach")
    assert more is not None
    assert (more.axis, more.degree) == ("count", "more")


def test_only_the_axes_asked_for_count() -> None:
    one, other = facts_of("a brown dog"), facts_of("a black dog")
    assert difference_of_captions(one, other, ("size",)) is None


def test_numbers_of_metadata_have_an_amount() -> None:
    one: dict[tuple[str, str], str | float] = {("type", "cup"): "cup", ("lightness", "cup"): 0.5}
    other = {**one, ("lightness", "cup"): 0.3}
    found = difference_of_metadata(one, other)
    assert found is not None
    assert (found.axis, found.owner, found.one, found.other, found.degree) == (
        "lightness",
        "cup",
        "0.5",
        "0.3",
        "darker",
    )
    assert found.amount == pytest.approx(-0.2)
    assert difference_of_metadata(one, other, ("hue",)) is None
    assert difference_of_metadata(one, {**one, ("lightness", "cup"): 0.50001}) is None  # rounding


def test_metadata_that_hardly_agree_do_not_differ_in_one_fact_only() -> None:
    one: dict[tuple[str, str], str | float] = {("color", ""): "red", ("brand", ""): "a"}
    other: dict[tuple[str, str], str | float] = {("color", ""): "blue", ("shop", ""): "b"}
    assert difference_of_metadata(one, other) is None
