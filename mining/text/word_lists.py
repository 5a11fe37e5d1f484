"""The word lists of `mining/text/words/`: plain text files that say what each list means, read once.

A file has lines of words under headings in brackets; what follows a # at the start of a line is for its reader. The
lists are data alone: `mining.text.lexicon` and `mining.text.tagging` hold the rules, `mining.text.axes` reads the words
of the axes.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

__all__ = [
    "ADJECTIVES", "ADVERBS", "ALIASES", "ANIMATE", "AUXILIARIES", "COMPOUNDS", "COMPOUND_FIRST", "CONJUNCTIONS",
    "DETERMINERS", "FOREIGN", "HEAD_ADJECTIVES", "ING_NOUNS", "KINDS", "LEMMAS", "MODALS", "NOUNS", "NUMBERS",
    "ONLY_VERBS", "PLURALS", "PREPOSITIONS", "PRONOUNS", "RELATIVES", "SINGULAR", "STOP_NOUNS", "VERBS",
    "VERBS_SECOND", "read_lists",
]  # fmt: skip


def read_lists(name: str) -> dict[str, list[str]]:
    """The lines under each heading of a file of `mining/text/words/`, without empty lines and comments."""
    lists: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (resources.files("mining.text") / "words" / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            lines = lists.setdefault(line.strip("[]"), [])
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
    return lists


def _words(lines: Iterable[str]) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


def _mapping(lines: Iterable[str]) -> dict[str, str]:
    """`word: other` a line; "" where there is no other."""
    return {word: other.strip() for word, _, other in (line.partition(":") for line in lines)}


def _pairs(lines: Iterable[str]) -> frozenset[tuple[str, str]]:
    """`first: second second` a line, as (first, second)."""
    split = (line.partition(":") for line in lines)
    return frozenset((first, second) for first, _, seconds in split for second in seconds.split())


_CLASSES = read_lists("classes.txt")
SINGULAR = _words(_CLASSES["singular"])
NUMBERS = _words(_CLASSES["numbers"])
DETERMINERS = SINGULAR | NUMBERS | _words(_CLASSES["other determiners"])
PRONOUNS = _words(_CLASSES["pronouns"])
RELATIVES = _words(_CLASSES["relatives"])
CONJUNCTIONS = _words(_CLASSES["conjunctions"])
PREPOSITIONS = _words(_CLASSES["prepositions"])
ADVERBS = _words(_CLASSES["adverbs"])
AUXILIARIES = _words(_CLASSES["auxiliaries"])
MODALS = _words(_CLASSES["modals"])
ADJECTIVES = _words(_CLASSES["adjectives"])
HEAD_ADJECTIVES = _words(_CLASSES["head adjectives"])
VERBS_SECOND = _words(_CLASSES["verbs or nouns"])
VERBS = _words(_CLASSES["verbs"]) - VERBS_SECOND
ONLY_VERBS = _words(_CLASSES["only verbs"])
FOREIGN = _words(_CLASSES["foreign"])

_NOUNS = read_lists("nouns.txt")
NOUNS = _words(_NOUNS["nouns"])
PLURALS = _words(_NOUNS["plurals"])
ING_NOUNS = _words(_NOUNS["-ing nouns"])
ANIMATE = _words(_NOUNS["animate"])
STOP_NOUNS = _words(_NOUNS["stop nouns"])
LEMMAS = _mapping(_NOUNS["lemmas"])
ALIASES = _mapping(_NOUNS["aliases"])

_COMPOUNDS = read_lists("compounds.txt")
KINDS = _pairs(_COMPOUNDS["kinds"])
# (first word, lemma of the second)
COMPOUNDS = KINDS | _pairs(_COMPOUNDS["others"])
COMPOUND_FIRST = frozenset(first for first, _ in COMPOUNDS)
