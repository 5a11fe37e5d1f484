"""Labelled captions, and the precision and recall of the nouns that an extractor finds in them.

`web_captions.tsv` holds 240 captions in the manner of the web (product titles, article and stock titles, alt texts),
written for this purpose and labelled by hand before any extractor was run on them. Its columns:

    half       tune: the rules may be changed after looking at these. held-out: only counted. fresh: 40 more, written
               when the rules and their word lists were finished, and only counted.
    kind       product, title or alt
    language   en, or the code of another language. A caption of another language has no (English) nouns.
    nouns      the nouns that an extractor should find, as lemmas, separated by commas. "tennis ball/ball" is one noun,
               found as either.
    also       right but not asked for: modifiers ("leather" in a leather bag), words about the picture itself, nouns
               that are part of a name. They count neither for nor against an extractor.
    names      names of people, products, places and works. They are scored word by word, without numbers and single
               letters, so that extractors that keep a name whole and those that split it are compared alike.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CAPTIONS = Path(__file__).with_name("web_captions.tsv")
_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
# Function words within names ("Legend of Zelda") are no names themselves.
_FUNCTION_WORDS = frozenset({"the", "of", "and", "da", "in", "de"})


@dataclass(frozen=True)
class Labelled:
    """A caption with its labels; nouns: for each noun the forms that count as it."""

    half: str
    kind: str
    language: str
    caption: str
    nouns: tuple[frozenset[str], ...]
    also: frozenset[str]
    names: frozenset[str]


@dataclass(frozen=True)
class Score:
    """Counts over captions. found: labelled nouns that were found, of `labelled`. wrong: found and not labelled."""

    labelled: int
    found: int
    wrong: int

    @property
    def precision(self) -> float:
        return self.found / max(self.found + self.wrong, 1)

    @property
    def recall(self) -> float:
        return self.found / max(self.labelled, 1)

    def __add__(self, other: Score) -> Score:
        return Score(self.labelled + other.labelled, self.found + other.found, self.wrong + other.wrong)


def read_labelled(path: Path = CAPTIONS) -> list[Labelled]:
    """All labelled captions, in the order of the file."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Labelled(
            row["half"],
            row["kind"],
            row["language"],
            row["caption"],
            tuple(frozenset(each.split("/")) for each in _parts(row["nouns"])),
            frozenset(_parts(row["also"])),
            frozenset(word for name in _parts(row["names"]) for word in _name_words(name)),
        )
        for row in rows
    ]


def score(caption: Labelled, nouns: Sequence[str], names: bool) -> Score:
    """The score of what an extractor found in a caption.

    names: whether the words of names are asked for too. Otherwise an extractor that gives one is wrong, unless the word
    is among the nouns that are right but not asked for.
    """
    forms = frozenset().union(*caption.nouns) | caption.also
    found = {noun for noun in nouns if noun in forms}
    rest = [noun for noun in nouns if noun not in forms]
    known = sum(bool(found & each) for each in caption.nouns)
    if not names:
        return Score(len(caption.nouns), known, len(rest))
    words = {word for noun in nouns for word in _name_words(noun)}
    wrong = {word for noun in rest for word in _name_words(noun)} - caption.names - forms
    asked = caption.names - frozenset().union(*caption.nouns)
    return Score(len(caption.nouns) + len(asked), known + len(asked & words), len(wrong))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _name_words(name: str) -> list[str]:
    words = [word.removesuffix("'s") if len(word) > 3 else word for word in _WORD.findall(name.lower())]
    return [word for word in words if len(word) > 1 and word not in _FUNCTION_WORDS]
