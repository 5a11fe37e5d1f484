"""The nouns of a caption, as a set: what two captions share is counted in them. Extractors are chosen by name.

    nouns = noun_extractor("lexicon")
    nouns(["A man in a red shirt is playing guitar"])     # [("guitar", "man", "shirt")]

`lexicon` needs no download; `spacy` and `nltk` (`mining.text.nouns_models`) need their packages and models. All give lemmas
in lower case without stop-nouns. Knows nothing about pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from index.errors import BadInput
from mining.text.lexicon_compounds import ALIASES, COMPOUNDS, KINDS
from mining.text.lexicon_words import STOP_NOUNS
from mining.text.tagging import Tagged, tag_caption

__all__ = ["CAPTION_NOUNS", "NOUN_EXTRACTORS", "NounExtractor", "noun_extractor", "nouns_of"]

# captions -> for each the sorted tuple of its nouns
NounExtractor = Callable[[Sequence[str | None]], list[tuple[str, ...]]]

NOUN_EXTRACTORS = ("lexicon", "spacy", "nltk")

# Most nouns kept of one caption, the first ones: Localized Narratives' captions of 36 words have about 10.
CAPTION_NOUNS = 64

# "a boy wearing no shirt", "without a helmet": what is named is just not in the picture.
ABSENCE = frozenset({"no", "without", "w/o"})

COMPOUND_FIRST = frozenset(first for first, _ in COMPOUNDS)


def noun_extractor(name: str) -> NounExtractor:
    """The extractor of that name.

    Raises:
        BadInput: an unknown name.
        MissingDependency: its package or model is not installed; the message names the commands.
    """
    if name == "lexicon":
        return lexicon_nouns
    if name not in NOUN_EXTRACTORS:
        raise BadInput(f"unknown noun extractor {name!r}: choose one of {', '.join(NOUN_EXTRACTORS)}")
    from mining.text.nouns_models import model_extractor

    return model_extractor(name)


def lexicon_nouns(captions: Sequence[str | None]) -> list[tuple[str, ...]]:
    """The bundled extractor; deterministic, about 0.3 million words/s on one core."""
    return [nouns_of(tag_caption(caption)) for caption in captions]


def nouns_of(tagged: Tagged) -> tuple[str, ...]:
    """Sorted distinct nouns of tagged words, the first `CAPTION_NOUNS` at most; a known compound is one noun."""
    found: dict[str, None] = {}
    at, count, absent = 0, len(tagged), False
    while at < count:
        tag, word = tagged[at]
        absent = word.text in ABSENCE or (absent and tag in "SDJN")
        if absent:
            at += 1
            continue
        if word.text in COMPOUND_FIRST and at + 1 < count:
            second = tagged[at + 1][1].lemma
            pair = (word.text, second)
            if pair in COMPOUNDS:
                name = " ".join(pair)
                found[ALIASES.get(name, name)] = None
                if pair in KINDS and name not in ALIASES and second not in STOP_NOUNS:
                    found[second] = None
                at += 2
                continue
        if tag == "N" and not word.stop:
            found[word.lemma] = None
        at += 1
    nouns = list(found)
    return tuple(sorted(nouns[:CAPTION_NOUNS]))
