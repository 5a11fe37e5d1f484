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
    ("caption", "expected"),
    [
        ("a boy in a yellow shirt next to a girl", {"boy's shirt": "yellow"}),
        ("a girl next to a boy in a yellow shirt", {"boy's shirt": "yellow"}),
        ("a girl sits beside a boy in a yellow shirt", {"boy's shirt": "yellow"}),
        ("a boy in a yellow shirt is standing next to a girl in a blue dress",
         {"boy's shirt": "yellow", "girl's dress": "blue"}),
        ("a boy in a yellow shirt and a girl in a red dress", {"boy's shirt": "yellow", "girl's dress": "red"}),
        ("a girl and a boy in a yellow shirt", {"boy's shirt": "yellow"}),
        ("a man in a red shirt and blue jeans", {"man's shirt": "red", "man's jeans": "blue"}),
        ("a man wearing a red hat, blue gloves, and a green scarf",
         {"man's hat": "red", "man's glove": "blue", "man's scarf": "green"}),
        ("a man, wearing a yellow shirt, rides a red bike", {"man's shirt": "yellow", "bike": "red"}),
        ("a man dressed in a black suit with a white hat", {"man's suit": "black", "man's hat": "white"}),
        ("a woman wearing a red coat walks with a man wearing a blue coat",
         {"woman's coat": "red", "man's coat": "blue"}),
        ("a dog with a red collar runs next to a man in a green jacket",
         {"dog's collar": "red", "man's jacket": "green"}),
        ("a woman with blonde hair holds a baby with brown hair", {"woman's hair": "yellow", "baby's hair": "brown"}),
        ("a boy in yellow and a girl in red", {"boy's clothes": "yellow", "girl's clothes": "red"}),
        ("a man and a woman in red shirts", {"man's shirt": "red", "woman's shirt": "red"}),
        ("a man and a woman wearing white shirts and blue jeans on a rock",
         {"man's shirt": "white", "woman's shirt": "white", "man's jeans": "blue", "woman's jeans": "blue"}),
        ("two girls in pink dresses and a boy in a black suit", {"girl's dress": "pink", "boy's suit": "black"}),
        ("a man in a white shirt looks at a woman in black", {"man's shirt": "white", "woman's clothes": "black"}),
        ("a girl in a red and white dress", {"girl's dress": "red and white"}),
        ("a boy in a red shirt chases a brown dog across a green field",
         {"boy's shirt": "red", "dog": "brown", "field": "green"}),
        ("the boy's yellow shirt and a girl", {"boy's shirt": "yellow"}),
        ("a blue shirt on a white chair", {"shirt": "blue", "chair": "white"}),
        ("a black jacket hangs by a man", {"jacket": "black"}),
        ("a boy in a red shirt and a boy in a blue shirt", {"boy's shirt": "red", "boy 2's shirt": "blue"}),
        ("Taylor Swift in a red dress and Tom Hanks in a black suit",
         {"taylor swift's dress": "red", "tom hanks's suit": "black"}),
    ],
)  # fmt: skip
def test_what_is_worn_belongs_to_the_person_named_last(caption: str, expected: dict[str, str]) -> None:
    said = {owner: value.partition("|")[0] for (axis, owner), value in facts_of(caption).items() if axis == "color"}
    assert said == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a boy in a yellow shirt next to a girl", {"boy - girl": "next-to"}),
        ("a man in a hat stands behind a dog with a collar", {"man - dog": "behind"}),
        ("a woman holding a baby in a blanket", {"baby - blanket": "in"}),
        ("a girl sits beside a boy with a ball on a bench", {"girl - boy": "next-to", "girl - bench": "on"}),
    ],
)
def test_positions_are_of_people_not_of_their_clothes(caption: str, expected: dict[str, str]) -> None:
    facts = facts_of(caption).items()
    assert {owner: value.partition("|")[0] for (axis, owner), value in facts if axis == "position"} == expected


def test_two_who_are_joined_do_the_same() -> None:
    facts = facts_of("a girl in a pink shirt and a boy in a cap walk on the beach")
    assert {owner: facts["action", owner] for owner in ("girl", "boy")} == {"girl": "walk|walk", "boy": "walk|walk"}
    assert ("action", "girl") not in facts_of("a girl in a cap and a boy walks a dog")


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


def test_a_side_of_the_picture_is_a_position_in_it() -> None:
    said = facts_of("A cat. The bag is on the left side of the picture and the dog is in the right part of the image.")

    assert said["position", "bag"] == "left|left"
    assert said["position", "dog"] == "right|right"
