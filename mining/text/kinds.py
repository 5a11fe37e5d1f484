"""Kinds of things and what they do, for comparing what captions state: a dog is an animal, a kid is a child.

kinds_of("boy")             # ("child", "person")
kinds_of("tennis ball")     # ("ball",)
"""

from __future__ import annotations

import functools

from mining.text.word_lists import read_lists

__all__ = [
    "ACTS_ALONE", "ACTS_ON", "ACTS_TOWARD", "DEPICTIONS", "GAMES", "MASS", "NAMES_NOTHING", "NOT_THINGS",
    "PLACE_PREPOSITIONS", "kinds_of", "same_noun",
]  # fmt: skip

_LISTS = read_lists("kinds.txt")


def _words(name: str) -> frozenset[str]:
    return frozenset(word for line in _LISTS[name] for word in line.split())


def _parents() -> dict[str, tuple[str, ...]]:
    """noun -> the kinds that list it, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for line in _LISTS["kinds"]:
        kind, _, members = line.partition(":")
        for noun in members.split():
            found[noun] = (*found.get(noun, ()), kind)
    return found


_PARENTS = _parents()
# An underscore stands for a space within a noun.
_SAME = {
    noun.replace("_", " "): line.partition(":")[0] for line in _LISTS["same"] for noun in line.partition(":")[2].split()
}
NAMES_NOTHING = _words("names nothing")
NOT_THINGS = _words("not things") | NAMES_NOTHING
MASS = _words("mass")
ACTS_ALONE = _words("acts alone")
ACTS_ON = _words("acts on")
DEPICTIONS = _words("depictions")
GAMES = _words("games")
# (verb, preposition)
ACTS_TOWARD = frozenset(
    (each.partition(" ")[0], each.partition(" ")[2]) for line in _LISTS["acts toward"] for each in line.split("|")
)
# place -> the preposition before it; others take "in"
PLACE_PREPOSITIONS = {
    place: line.partition(":")[0] for line in _LISTS["at places"] for place in line.partition(":")[2].split()
}


def same_noun(noun: str) -> str:
    """The noun by which one of the same meaning is known: "child" for "kid"; other nouns as they are."""
    return _SAME.get(noun, noun)


@functools.lru_cache(maxsize=65_536)
def kinds_of(noun: str) -> tuple[str, ...]:
    """The kinds that a noun belongs to, the nearest first: ("child", "person") for "boy"; () where none is known."""
    found: dict[str, None] = {}
    parents = list(_PARENTS.get(noun, ()))
    head = same_noun(noun.rpartition(" ")[2])
    if head != noun and head not in NOT_THINGS:
        parents.append(head)
    while parents:
        kind = parents.pop(0)
        if kind not in found and kind != noun:
            found[kind] = None
            parents += _PARENTS.get(kind, ())
    return tuple(found)
