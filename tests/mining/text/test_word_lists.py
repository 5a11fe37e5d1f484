"""The word lists: how their files are read, and that the lists fit together."""

from __future__ import annotations

from importlib import resources

import pytest

from mining.text import word_lists as words
from mining.text.word_lists import read_lists

FILES = ("axes.txt", "classes.txt", "compounds.txt", "nouns.txt")


@pytest.mark.parametrize("name", FILES)
def test_a_file_begins_with_what_it_holds_and_no_list_in_it_is_empty(name: str) -> None:
    assert (resources.files("mining.text") / "words" / name).read_text().startswith("# ")
    lists = read_lists(name)
    assert lists
    assert all(lists.values())


def test_comments_empty_lines_and_headings_are_no_words() -> None:
    lists = read_lists("compounds.txt")
    assert list(lists) == ["kinds", "others"]
    assert "hot: dog" in lists["others"]
    assert not any(line.startswith(("#", "[")) for lines in lists.values() for line in lines)


def test_lists_of_words_pairs_and_mappings_are_read_as_such() -> None:
    assert {"a", "an", "one", "another", "each", "every"} == words.SINGULAR
    assert {("tennis", "ball"), ("tennis", "racket")} <= words.KINDS
    assert ("hot", "dog") in words.COMPOUNDS - words.KINDS
    assert words.LEMMAS["leaves"] == "leaf"
    assert words.LEMMAS["left"] == ""  # no noun
    assert words.ALIASES["wet suit"] == "wetsuit"


def test_a_verb_is_in_one_of_the_two_lists_of_verbs() -> None:
    assert not words.VERBS & words.VERBS_SECOND
    assert "surf" in words.VERBS_SECOND


def test_determiners_include_singular_ones_and_numbers() -> None:
    assert words.SINGULAR | words.NUMBERS < words.DETERMINERS
    assert "the" in words.DETERMINERS


def test_all_words_are_lower_case() -> None:
    lists = [words.ADJECTIVES, words.ADVERBS, words.ANIMATE, words.NOUNS, words.STOP_NOUNS, words.VERBS, words.PLURALS]
    assert not [word for each in lists for word in each if word != word.lower()]
