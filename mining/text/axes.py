"""The axes in which captions may differ, the words that state each, and which two values exclude each other.

Each table maps a word to its group; two words of one group say the same ("big", "large"). The words are in
`mining/text/words/axes.txt`; `mining.text.caption_facts` reads the sentences.
"""

from __future__ import annotations

from mining.text.word_lists import read_lists

__all__ = [
    "ACTIONS", "ADJECTIVE_AXES", "AXES", "COUNTS", "IGNORED", "OPPOSITE_POSITIONS", "PHRASES", "PLACES", "POSITIONS",
    "SAME_PLACES", "WORN", "excludes",
]  # fmt: skip

AXES = (
    "color", "size", "count", "material", "texture", "shape", "state", "position", "action", "place", "light", "view",
)  # fmt: skip

_LISTS = read_lists("axes.txt")
# Of "size", "size height": the axis, and the dimension where it is another word. Dimensions of one axis are stated
# independently: big and tall do not exclude each other.
_ADJECTIVES = (
    "color", "color shade", "color vividness", "size", "size height", "size width", "material", "texture", "shape",
    "state wetness",
)  # fmt: skip


def _groups(name: str) -> dict[str, str]:
    """word -> its group, from lines of words of one group, named by the first; _ stands for a space."""
    lines = [[word.replace("_", " ") for word in line.split()] for line in _LISTS[name]]
    return {word: words[0] for words in lines for word in words}


def _phrases() -> dict[tuple[str, ...], tuple[str, str]]:
    found = {}
    for line in _LISTS["phrases"]:
        axis, value = (word.strip("-") for word in line.partition(":")[0].split())
        for phrase in line.partition(":")[2].split("|"):
            found[tuple(phrase.split())] = (axis, value)
    return found


# adjective -> (axis, dimension, group)
ADJECTIVE_AXES: dict[str, tuple[str, str, str]] = {
    word: (name.split()[0], name.split()[-1], group) for name in _ADJECTIVES for word, group in _groups(name).items()
}
# word -> a number, or "many"
COUNTS = {word: line.partition(":")[0] for line in _LISTS["count"] for word in line.partition(":")[2].split()}
# Verbs by what they say; a subject can do only one of these at a time.
ACTIONS = _groups("action")
# preposition -> group
POSITIONS = _groups("position")
OPPOSITE_POSITIONS = frozenset(
    pair for one, other in map(str.split, _LISTS["opposite positions"]) for pair in ((one, other), (other, one))
)
# Nouns that say where a scene is, behind "in", "on" or "at". Two of one group may be the same place, so they do not
# exclude each other; only two of one group of SAME_PLACES agree.
PLACES = _groups("place")
SAME_PLACES = _groups("same place")
# words of a phrase -> (axis, value); both are "" for a phrase that is taken out.
PHRASES = _phrases()
# Nouns that belong to who wears or has them.
WORN = frozenset(word.replace("_", " ") for line in _LISTS["worn"] for word in line.split())
# Tagged words that state nothing about a picture.
IGNORED = frozenset(word for line in _LISTS["ignored"] for word in line.split())


def excludes(axis: str, one: str, other: str) -> bool:
    """Whether two values of one slot cannot both be true: "red" and "blue", but not "black" and "black and white"."""
    if one == other:
        return False
    if axis == "count":
        return "many" not in (one, other) or "1" in (one, other)
    if axis == "position":
        return (one, other) in OPPOSITE_POSITIONS
    if axis == "light":
        return {one, other} != {"day", "overcast"}
    if axis == "action" and "?" in one + other:
        return False  # looking and smiling go together
    first, second = set(one.split(" and ")), set(other.split(" and "))
    return not first & second
