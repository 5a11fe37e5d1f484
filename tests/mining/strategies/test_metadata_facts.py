"""Facts from metadata: dotted fields, lists of named things, numbers, texts."""

from __future__ import annotations

import json

import pytest

from mining.strategies.metadata_facts import MOST_FACTS, metadata_facts


def test_elements_of_a_list_are_named_by_their_type_and_counted() -> None:
    value = {"truth": {"objects": [{"type": "dog", "hue": 0.1, "ear": {"size": 0.7}}, {"type": "dog"}], "light": "day"}}
    assert metadata_facts(value, ["truth", "objects"], "objects") == {
        ("count", "objects"): 2.0,
        ("type", "dog"): "dog",
        ("hue", "dog"): 0.1,
        ("size", "dog ear"): 0.7,
        ("type", "dog 2"): "dog",
    }
    assert metadata_facts(value, ["truth", "light"], "light") == {("light", ""): "day"}


def test_the_text_of_extra_is_parsed_and_plain_lists_are_one_fact() -> None:
    assert metadata_facts(640, [], "width") == {("width", ""): 640.0}
    assert metadata_facts(json.dumps({"tags": ["b", "a"], "new": True}), ["tags"], "tags") == {("tags", ""): "a, b"}
    assert metadata_facts({"item": {"new": False, "price": 3, "color": "red"}}, ["item"], "item") == {
        ("new", ""): "no",
        ("price", ""): 3.0,
        ("color", ""): "red",
    }


@pytest.mark.parametrize(
    "value", [None, "", "{", {"item": None}, {"item": ""}, {"other": 1}, {"item": float("nan")}, [1, 2]]
)
def test_what_is_missing_or_broken_states_nothing(value: object) -> None:
    assert metadata_facts(value, ["item"], "item") == {}


def test_rows_that_state_too_much_are_skipped() -> None:
    assert metadata_facts({"item": {str(number): number for number in range(MOST_FACTS + 1)}}, ["item"], "item") == {}
