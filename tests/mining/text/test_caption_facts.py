"""What a caption states, slot by slot, in the ways that people put it."""

from __future__ import annotations

import pytest

from mining.text.axes import AXES
from mining.text.caption_facts import facts_of


def stated(caption: str) -> dict[str, str]:
    """axis of owner -> the group of its value, for the axes that may differ."""
    return {
        f"{axis} {owner}".strip(): value.partition("|")[0]
        for (axis, owner), value in facts_of(caption).items()
        if axis in AXES and (axis, value.partition("|")[0]) != ("count", "1")
    }


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A brown dog runs on the beach", {"color dog": "brown", "action dog": "run", "place": "beach"}),
        ("Two tan dogs are racing along", {"count dog": "2", "color dog": "brown", "action dog": "run"}),
        ("a tiny wooden table, a huge cup", {"size table": "small", "material table": "wooden", "size cup": "large"}),
        ("a black and white ball", {"color ball": "black and white"}),
        ("a cat under a table", {"position cat - table": "under"}),
        ("a cup in front of the lamp", {"position cup - lamp": "in-front-of"}),
        ("a tree on the left", {"position tree": "left"}),
        (
            "a girl in red sits at night",
            {"color girl's clothes": "red", "action girl": "sit", "light": "night"},
        ),
        ("a shiny round vase, seen from above", {"texture vase": "glossy", "shape vase": "round", "view": "high"}),
        ("a couple of boats", {"count boat": "2"}),
        ("a group of children jumping", {"count child": "many", "action child": "jump"}),
    ],
)  # fmt: skip
def test_axes_are_read_with_their_owner_and_synonyms_are_one_group(caption: str, expected: dict[str, str]) -> None:
    assert stated(caption) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A dog runs on the beach", "The dog is running on a beach ."),
        ("a photo of a big red ball", "A large red ball."),
        ("two men sitting in a car", "Two men sit inside a car"),
    ],
)
def test_different_wordings_of_the_same_facts_agree(one: str, other: str) -> None:
    assert groups(one) == groups(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a dog runs outside", "a dog runs"),
        ("two dogs play", "two dogs are playing in a grassy plain"),
        ("a fluffy dog on grass", "a dog on grass"),
        ("a dog chases another one", "a dog chases"),
        ("a man with a hat", "a man without a hat"),
        ("a dog in a green field", "a dog in a field"),
        ("a dog in a yard", "a dog in a park"),
    ],
)
def test_what_no_axis_knows_is_a_fact_too_and_must_agree(one: str, other: str) -> None:
    assert groups(one) != groups(other)


def test_a_second_dog_is_another_one_and_the_dog_is_the_same() -> None:
    assert ("object", "dog 2") in facts_of("a brown dog and a white dog")
    assert ("object", "dog 2") not in facts_of("a brown dog, and a cat looks at the dog")


@pytest.mark.parametrize("caption", [None, "", "photo", "一只狗", "ein roter Hund auf dem Tisch", "running red"])
def test_a_caption_without_objects_states_nothing(caption: str | None) -> None:
    assert facts_of(caption) == {}


def groups(caption: str) -> dict[tuple[str, str], str]:
    return {slot: value.partition("|")[0] for slot, value in facts_of(caption).items()}
