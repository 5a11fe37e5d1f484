"""The nouns of a caption, as a set: what two captions share is counted in them. Extractors are chosen by name.

    nouns = noun_extractor("lexicon")
    nouns(["A man in a red shirt is playing guitar"])     # [("guitar", "man", "shirt")]

All give lemmas in lower case without stop nouns, `CAPTION_NOUNS` at most, and none of a caption of another language
than English. `lexicon` needs no download. `spacy` and `nltk` are not among the dependencies, as both download their
models at run time; with them compounds and names count word by word, as their taggers see them.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from index.errors import BadInput, MissingDependency
from mining.text.lexicon import look_up
from mining.text.names import head_noun, surname
from mining.text.normalize import plain_text
from mining.text.tagging import Tagged, english_words, tag_caption
from mining.text.word_lists import ALIASES, COMPOUND_FIRST, COMPOUNDS, KINDS, STOP_NOUNS

__all__ = ["CAPTION_NOUNS", "NOUN_EXTRACTORS", "NounExtractor", "implied_heads", "noun_extractor"]

# captions -> for each the sorted tuple of its nouns
NounExtractor = Callable[[Sequence[str | None]], list[tuple[str, ...]]]

# texts -> for each (word, lemma, whether it is part of a name) of its nouns
_Tagger = Callable[[Sequence[str]], Iterable[list[tuple[str, str, bool]]]]

NOUN_EXTRACTORS = ("lexicon", "spacy", "nltk")

# Most nouns kept of one caption, the first ones: Localized Narratives' captions of 36 words have about 10.
CAPTION_NOUNS = 64

# "a boy wearing no shirt", "without a helmet": the noun behind one of these is not in the picture.
_ABSENCE = frozenset({"no", "without", "w/o"})

_SPACY_MODEL = "en_core_web_sm"
_NLTK_MODEL = "averaged_perceptron_tagger_eng"
_BATCH = 512  # captions a call of spaCy's pipe


def noun_extractor(name: str, names: bool = False) -> NounExtractor:
    """The extractor of that name.

    names: whether names of people, products, places and works count as nouns ("barack obama", "nike").

    Raises:
        BadInput: an unknown name.
        MissingDependency: its package or model is not installed; the message names the commands.
    """
    if name == "lexicon":
        return functools.partial(_lexicon_nouns, names)
    if name not in NOUN_EXTRACTORS:
        raise BadInput(f"unknown noun extractor {name!r}: choose one of {', '.join(NOUN_EXTRACTORS)}")
    return _tagger_nouns(name, names)


@functools.lru_cache(maxsize=65_536)
def implied_heads(noun: str) -> frozenset[str]:
    """The nouns that `lexicon` adds to a caption because of this one, else an empty set.

    {"ball"} for "tennis ball"; among names {"tower"} for "eiffel tower" and {"obama"} for "barack obama". Two captions
    that share a compound and its head share one thing, so a count of shared things leaves these out.
    """
    first, space, second = noun.partition(" ")
    if not space:
        return frozenset()
    if (first, second) in COMPOUNDS or noun in ALIASES:
        kind = (first, second) in KINDS and noun not in ALIASES and second not in STOP_NOUNS
        return frozenset([second] if kind else [])
    return frozenset(filter(None, [head_noun(noun), surname(noun)]))


def _lexicon_nouns(names: bool, captions: Sequence[str | None]) -> list[tuple[str, ...]]:
    """The bundled extractor; deterministic."""
    return [_nouns_of(tag_caption(caption), names) for caption in captions]


def _nouns_of(tagged: Tagged, names: bool) -> tuple[str, ...]:
    """Sorted distinct nouns of tagged words, the first `CAPTION_NOUNS` at most; a known compound is one noun."""
    found: dict[str, None] = {}
    at, count, absent = 0, len(tagged), False
    while at < count:
        tag, word = tagged[at]
        absent = word.text in _ABSENCE or (absent and tag in "SDJN")
        if absent:
            at += 1
            continue
        if word.text in COMPOUND_FIRST and at + 1 < count:
            second = tagged[at + 1][1].lemma
            pair = (word.text, second)
            if pair in COMPOUNDS:
                name = " ".join(pair)
                found[ALIASES.get(name, name)] = None
                for head in implied_heads(name):
                    found[head] = None
                at += 2
                continue
        if tag == "N" and (not word.stop or (word.text == "couple" and _are_people(tagged, at))):
            found[word.lemma] = None
        elif tag == "M":
            head = head_noun(word.lemma)
            for noun in (word.lemma, *implied_heads(word.lemma)) if names else (head,) if head else ():
                found[noun] = None
        at += 1
    nouns = list(found)
    return tuple(sorted(nouns[:CAPTION_NOUNS]))


def _are_people(tagged: Tagged, at: int) -> bool:
    """Whether the word "couple" here is two people, and no number: "an elderly couple", not "a couple of dogs"."""
    tag, word = tagged[at + 1] if at + 1 < len(tagged) else (".", None)
    return tag not in "NJ" and (word is None or word.text != "of")


def _tagger_nouns(name: str, names: bool) -> NounExtractor:
    """`spacy` or `nltk`; MissingDependency names the install commands where package or model is missing."""
    tagger: _Tagger = _spacy() if name == "spacy" else _nltk()
    return functools.partial(_extract, tagger, names)


def _extract(tagger: _Tagger, names: bool, captions: Sequence[str | None]) -> list[tuple[str, ...]]:
    texts = [plain_text(caption or "") if english_words(caption) else "" for caption in captions]
    return [_kept([each[:2] for each in found if names or not each[2] or _is_word(each[0])]) for found in tagger(texts)]


def _is_word(text: str) -> bool:
    """Whether a word that a tagger took for a name is a common noun: in titles, capitals deceive taggers."""
    return look_up(text).kind in "NAQBKI"


def _kept(found: list[tuple[str, str]]) -> tuple[str, ...]:
    lemmas = (lemma for word, lemma in found if word.isalpha() and len(word) > 1 and lemma not in STOP_NOUNS)
    return tuple(sorted(list(dict.fromkeys(lemmas))[:CAPTION_NOUNS]))


@functools.cache
def _spacy() -> _Tagger:
    command = f"pip install spacy && python -m spacy download {_SPACY_MODEL}"
    spacy: Any = _imported("spacy", "--nouns spacy", command)
    try:
        # The parser and the entities take half of the time and say nothing about nouns.
        pipeline = spacy.load(_SPACY_MODEL, exclude=["parser", "ner"])
    except OSError as error:
        raise MissingDependency(f"spaCy's model {_SPACY_MODEL}", "--nouns spacy", command=command) from error

    def tagger(texts: Sequence[str]) -> Iterable[list[tuple[str, str, bool]]]:
        for document in pipeline.pipe(texts, batch_size=_BATCH):
            nouns = [token for token in document if token.pos_ in ("NOUN", "PROPN")]
            yield [(token.lower_, token.lemma_.lower(), token.pos_ == "PROPN") for token in nouns]

    return tagger


@functools.cache
def _nltk() -> _Tagger:
    command = f"pip install nltk && python -m nltk.downloader {_NLTK_MODEL}"
    nltk: Any = _imported("nltk", "--nouns nltk", command)
    try:
        nltk.data.find(f"taggers/{_NLTK_MODEL}")
    except LookupError as error:
        raise MissingDependency(f"NLTK's model {_NLTK_MODEL}", "--nouns nltk", command=command) from error
    words = nltk.tokenize.NLTKWordTokenizer()  # needs no model, unlike word_tokenize

    def tagger(texts: Sequence[str]) -> Iterable[list[tuple[str, str, bool]]]:
        for tagged in nltk.pos_tag_sents([words.tokenize(text) for text in texts]):
            nouns = [(word.lower(), tag.startswith("NNP")) for word, tag in tagged if tag.startswith("NN")]
            yield [(word, look_up(word).lemma, name) for word, name in nouns]

    return tagger


def _imported(package: str, purpose: str, command: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependency(package, purpose, command=command) from error
