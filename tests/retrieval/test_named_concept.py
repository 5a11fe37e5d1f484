from __future__ import annotations

import pytest

from retrieval.named_concept import clean_name, quoted, without_layout_marks


@pytest.mark.parametrize("name", ["می\u200cروم", "क्\u200dष", "👨\u200d👩\u200d👧", "\u200fكلب", "Donau\u00addampf"])
def test_a_name_stays_as_it_is_written(name: str) -> None:
    assert clean_name(name) == name


def test_spaces_and_byte_order_marks_are_no_part_of_a_name() -> None:
    assert clean_name(" red\u3000 fox\t") == "red fox"
    assert clean_name("\ufeffcat") == "cat"  # of two files that were joined


def test_marks_of_layout_are_not_letters() -> None:
    assert without_layout_marks("Donau\u00addampf\u200f") == "Donaudampf"
    assert without_layout_marks("می\u200cروم") == "می\u200cروم"


def test_long_lists_of_texts_are_cut() -> None:
    assert quoted(["a", "b"]) == "'a', 'b'"
    assert quoted(["x" * 50, "b", "c", "d", "e"]) == f"'{'x' * 40}...', 'b', 'c', and 2 more"
