"""Captions from file names, by a pattern that cannot run away."""

from __future__ import annotations

import pytest

from index.corpus.caption_pattern import parse_caption_pattern
from index.errors import BadInput


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("{id}_{caption}", "n01440764_tench", {"id": "n01440764", "caption": "tench"}),
        ("{id}_{caption}", "any/folder/n02007558_black_swan", {"id": "n02007558", "caption": "black swan"}),
        ("{caption}/{id}", "data/sea_lion/0001", {"caption": "sea lion", "id": "0001"}),
        ("{caption}", "a/two  dogs__running", {"caption": "two dogs running"}),
        ("img-{id}-{caption}-final", "img-7-red_car-final", {"id": "7", "caption": "red car"}),
        ("{split}/{caption}/{id}", "train/cat/1", {"split": "train", "caption": "cat", "id": "1"}),
    ],
)
def test_a_pattern_finds_its_fields(pattern: str, key: str, expected: dict[str, str]) -> None:
    assert parse_caption_pattern(pattern).match(key) == expected


@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("{id}_{caption}", "tench"),
        ("{id}_{caption}", "n01_"),
        ("{id}_{caption}", "_tench"),
        ("{id}_{caption}", "n01___"),
        ("{caption}/{id}", "flat"),
        ("img-{caption}", "photo-dog"),
        ("{caption}-final", "dog-draft"),
    ],
)
def test_names_that_do_not_follow_give_none(pattern: str, key: str) -> None:
    assert parse_caption_pattern(pattern).match(key) is None


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("{id}", "exactly once"),
        ("", "exactly once"),
        ("{caption}_{caption}", "exactly once"),
        ("{id}{caption}", "touch"),
        ("{id}_{id}_{caption}", "twice"),
        ("{ID}_{caption}", "lower-case"),
        ("{caption", "lower-case"),
    ],
)
def test_unclear_patterns_are_one_line_of_bad_input(pattern: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        parse_caption_pattern(pattern)
    assert "\n" not in str(caught.value)


def test_a_long_name_is_matched_without_backtracking() -> None:
    pattern = parse_caption_pattern("{a}_{b}_{c}_{d}_{e}_{caption}x")
    # A regular expression that backtracks over six fields would not come to an end here.
    assert pattern.match("_" + "a_" * 100_000) is None
    assert pattern.match("a_" * 100_000) is None
