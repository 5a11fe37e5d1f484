from __future__ import annotations

import pytest

from mining.text.kinds import ACTS_TOWARD, MASS, NOT_THINGS, PLACE_PREPOSITIONS, kinds_of, same_noun


@pytest.mark.parametrize(
    ("noun", "kinds"),
    [
        ("boy", ("person", "child")),
        ("puppy", ("dog", "animal")),
        ("tennis ball", ("ball",)),
        ("cell phone", ("phone",)),
        ("left hand", ()),
        ("sky", ()),
    ],
)
def test_kinds_of_a_noun(noun: str, kinds: tuple[str, ...]) -> None:
    assert kinds_of(noun) == kinds


def test_nouns_of_one_meaning() -> None:
    assert [same_noun(noun) for noun in ("kid", "people", "swimming suit", "dog")] == [
        "child",
        "person",
        "swimsuit",
        "dog",
    ]


def test_the_lists_are_read() -> None:
    assert "hand" in NOT_THINGS
    assert "grass" in MASS
    assert ("look", "at") in ACTS_TOWARD
    assert ("look", "out of") in ACTS_TOWARD
    assert PLACE_PREPOSITIONS["beach"] == "on"
    assert "" not in PLACE_PREPOSITIONS
