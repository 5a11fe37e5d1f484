"""Words for differences of degree: "rounder", "darker", as the descriptions of Subtle-Diff use.

degree("texture", "smooth", "rough")  # "rougher"
degree("lightness", 0.6, 0.3)         # "darker"
"""

from __future__ import annotations

from mining.text.word_lists import read_lists

__all__ = ["degree"]

_LISTS = read_lists("degrees.txt")


def _pairs(name: str) -> list[tuple[str, str, list[str]]]:
    """(less, more, what they are said of) of each line."""
    found = []
    for line in _LISTS[name]:
        comparatives, _, said = line.partition(":")
        less, more = (word.replace("-", " ") for word in comparatives.split())
        found.append((less, more, said.split()))
    return found


# (group, other group) -> how the second is beside the first
_OF_WORDS = {
    pair: word
    for less, more, (little, much) in _pairs("words")
    for pair, word in (((little, much), more), ((much, little), less))
}
_OF_NUMBERS = {name: (less, more) for less, more, names in _pairs("numbers") for name in names}


def degree(name: str, one: str | float, other: str | float) -> str | None:
    """How the second value of an axis or a metadata field is beside the first; None where it is no matter of degree.

    one, other: two numbers, or two word groups of `mining.text.axes`.
    """
    if isinstance(one, str) or isinstance(other, str):
        return _OF_WORDS.get((str(one), str(other)))
    less, more = _OF_NUMBERS.get(name, (None, None))
    return more if other > one else less
