"""The word lists of `mining/text/words/`: plain text files that say what each list means, read once.

A file has lines of words under headings in brackets; what follows a # at the start of a line is for its reader. The
lists are data alone: `mining.text.lexicon` and `mining.text.tagging` hold the rules, `mining.text.axes` reads the words
of the axes, and `mining.text.names` those of names.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources

__all__ = [
    "ADJECTIVES", "ADVERBS", "ALIASES", "ANIMATE", "AUXILIARIES", "COMPOUNDS", "COMPOUND_FIRST", "CONJUNCTIONS",
    "DETERMINERS", "FOREIGN", "FOREIGN_FUNCTION", "HEAD_ADJECTIVES", "ING_NOUNS", "KINDS", "LEMMAS", "MODALS",
    "NAMES", "NOUNS", "NUMBERS", "ONLY_VERBS", "PARTICLES", "PLURALS", "PREPOSITIONS", "PRODUCTS", "PRONOUNS",
    "RELATIVES", "SEVERAL_WORD_NAMES", "SHARED_WORDS", "SINGULAR", "STOP_NOUNS", "VERBS", "VERBS_SECOND",
    "WORD_PATTERNS", "read_lists",
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


def _by_first_word(text: str) -> dict[str, list[tuple[str, ...]]]:
    """Names of several words, separated by |."""
    parts = {tuple(name.split()) for name in text.split("|") if name.strip()}
    names = sorted(parts, key=lambda name: (-len(name), name))
    return {first: [name for name in names if name[0] == first] for first in {name[0] for name in names}}


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

_LANGUAGES = read_lists("languages.txt")
FOREIGN_FUNCTION = _words(_LANGUAGES.pop("function words"))
SHARED_WORDS = _words(_LANGUAGES.pop("shared words"))
PARTICLES = _words(_LANGUAGES.pop("particles"))
# heading -> parts of words by which one is likely of another language
WORD_PATTERNS = {name: sorted(_words(_LANGUAGES.pop(name))) for name in ("sure endings", "endings", "inside")}
# What captions of other languages name, of all languages together.
FOREIGN = frozenset(word for lines in _LANGUAGES.values() for word in _words(lines))

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

_NAMES = read_lists("names.txt")
# brand -> words that name its products
PRODUCTS = {brand: frozenset(each.split()) for brand, each in _mapping(_NAMES.pop("products")).items()}
# first word -> the names that begin with it, as words, the longest first
SEVERAL_WORD_NAMES = _by_first_word(" ".join(_NAMES.pop("several words")))
# heading -> its words
NAMES = {heading: _words(lines) for heading, lines in _NAMES.items()}
