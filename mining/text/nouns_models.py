"""Noun extractors of other packages: spaCy's tagger and NLTK's, imported when they are called for.

Their nouns go through the same lemmas, stop-nouns and bounds as the bundled extractor's, but compounds count word by
word, as these taggers do. Neither is among the dependencies: both download their models at run time.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from index.errors import MissingDependency
from mining.text.lexicon import look_up
from mining.text.lexicon_words import STOP_NOUNS
from mining.text.nouns import CAPTION_NOUNS
from mining.text.tagging import CAPTION_CHARACTERS

__all__ = ["NLTK_MODEL", "SPACY_MODEL", "model_extractor"]

SPACY_MODEL = "en_core_web_sm"
NLTK_MODEL = "averaged_perceptron_tagger_eng"
_BATCH = 512  # captions a call of spaCy's pipe

Tagger = Callable[[Sequence[str]], Iterable[list[tuple[str, str]]]]  # texts -> (word, lemma) of each one's nouns


def model_extractor(name: str) -> Callable[[Sequence[str | None]], list[tuple[str, ...]]]:
    """`spacy` or `nltk`; MissingDependency names the install commands where package or model is missing."""
    tagger: Tagger = _spacy() if name == "spacy" else _nltk()
    return functools.partial(_extract, tagger)


def _extract(tagger: Tagger, captions: Sequence[str | None]) -> list[tuple[str, ...]]:
    texts = [(caption or "")[:CAPTION_CHARACTERS] for caption in captions]
    return [_kept(found) for found in tagger(texts)]


def _kept(found: list[tuple[str, str]]) -> tuple[str, ...]:
    lemmas = (lemma for word, lemma in found if word.isalpha() and len(word) > 1 and lemma not in STOP_NOUNS)
    return tuple(sorted(list(dict.fromkeys(lemmas))[:CAPTION_NOUNS]))


@functools.cache
def _spacy() -> Tagger:
    command = f"pip install spacy && python -m spacy download {SPACY_MODEL}"
    spacy: Any = _imported("spacy", "--nouns spacy", command)
    try:
        # The parser and the entities take half of the time and say nothing about nouns.
        pipeline = spacy.load(SPACY_MODEL, exclude=["parser", "ner"])
    except OSError as error:
        raise MissingDependency(f"spaCy's model {SPACY_MODEL}", "--nouns spacy", command=command) from error

    def tagger(texts: Sequence[str]) -> Iterable[list[tuple[str, str]]]:
        for document in pipeline.pipe(texts, batch_size=_BATCH):
            yield [(token.lower_, token.lemma_.lower()) for token in document if token.pos_ in ("NOUN", "PROPN")]

    return tagger


@functools.cache
def _nltk() -> Tagger:
    command = f"pip install nltk && python -m nltk.downloader {NLTK_MODEL}"
    nltk: Any = _imported("nltk", "--nouns nltk", command)
    try:
        nltk.data.find(f"taggers/{NLTK_MODEL}")
    except LookupError as error:
        raise MissingDependency(f"NLTK's model {NLTK_MODEL}", "--nouns nltk", command=command) from error
    words = nltk.tokenize.NLTKWordTokenizer()  # needs no model, unlike word_tokenize

    def tagger(texts: Sequence[str]) -> Iterable[list[tuple[str, str]]]:
        for tagged in nltk.pos_tag_sents([words.tokenize(text) for text in texts]):
            nouns = [word.lower() for word, tag in tagged if tag.startswith("NN")]
            yield [(word, look_up(word).lemma) for word in nouns]

    return tagger


def _imported(package: str, purpose: str, command: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDependency(package, purpose, command=command) from error
