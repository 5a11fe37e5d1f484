"""The tagger: words with two readings are resolved by the words before them."""

from __future__ import annotations

import pytest

from mining.text.normalize import CAPTION_CHARACTERS
from mining.text.tagging import tag_caption


def tags(caption: str | None) -> str:
    return "".join(tag for tag, _ in tag_caption(caption))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a man in a red shirt is playing guitar", "SNPSJNXVN"),
        ("a dog runs on the beach", "SNVPDN"),
        ("the boat race", "DNN"),
        ("two boys race", "DNV"),
        ("a parked car", "SJN"),
        ("a running horse", "SJN"),
        ("he drinks from a can", "UVPSN"),
        ("a light blue shirt by the light", "SJJNPDN"),
        ("a man's hat", "SNDN"),
        ("a wug.", "SN."),
    ],
)
def test_words_are_tagged_by_their_context(caption: str, expected: str) -> None:
    assert tags(caption) == expected


def test_the_noun_can_and_the_auxiliary_are_told_apart() -> None:
    assert [tag for tag, word in tag_caption("a can that can roll") if word.text == "can"] == ["N", "X"]


def test_markup_urls_and_file_names_are_no_words() -> None:
    words = [
        word.text for _, word in tag_caption("<b>Black</b> &amp; cat https://example.org/a.jpg DSC_0001.jpg a@b.org")
    ]
    assert words == ["black", "cat"]


@pytest.mark.parametrize("caption", [None, "", "ein Hund und eine Katze auf dem Tisch", "un homme avec une table"])
def test_an_empty_caption_and_one_in_another_language_have_no_tags(caption: str | None) -> None:
    assert tag_caption(caption) == []


def test_a_curly_apostrophe_is_an_apostrophe_and_case_does_not_matter() -> None:
    assert tags("A MAN’S HAT") == tags("a man's hat")


def test_a_long_caption_is_cut() -> None:
    assert sum(len(word.text) for _, word in tag_caption("a dog and " * 1_000)) <= CAPTION_CHARACTERS
