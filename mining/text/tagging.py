"""A part-of-speech tagger for captions: a small grammar over the bundled lexicon.

Captions are noun phrases joined by verbs and prepositions ("a man in a red shirt is playing guitar"). Most words that
could be a noun or a verb are therefore resolved by the words before them: "a" or an adjective is followed by a noun,
and a noun that can act is followed by a verb that agrees with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from mining.text.language import foreign_weight, is_foreign
from mining.text.lexicon import Word, look_up
from mining.text.names import find_names, may_name
from mining.text.normalize import plain_text
from mining.text.word_lists import MODALS, NUMBERS

__all__ = ["Tagged", "english_words", "tag_caption"]

# (tag, word): N noun, M name, J adjective, V verb, "." the end of a phrase, or else the word's kind.
Tagged = list[tuple[str, Word]]

# Words, with the digits that follow at once ("S10"); numbers, with the letters that follow ("40mm"); "w/".
_TOKEN = re.compile(r"[^\W\d_]+(?:['&/-][^\W\d_]+)*(?:\d[^\W_]*)?|\d[^\W_]*|[.,;:!?()\"|]+|\n")
_WITH = re.compile(r"(?<!\S)[wW]/(?![oO]\b)")
_OPEN = frozenset("SDJ")
_NOUNISH = frozenset("NAKQIM")
_TABLE: dict[str, Word] = {}
# Room for every word that captions use. Alt text of all languages would fill it, and it is cleared then.
_TABLE_WORDS = 500_000
_STOP = Word(".", ".", ".")
_POSSESSIVE = Word("'s", "D", "'s")
_CAN = Word("can", "N", "can")


def english_words(caption: str | None) -> list[Word]:
    """The words of a caption, names as one word each, every punctuation mark as "."; [] if it is not English."""
    if not caption:
        return []
    text = plain_text(caption)
    if "w/" in text:
        text = _WITH.sub("with ", text)
    tokens = _TOKEN.findall(text)
    try:
        words = [_TABLE[token] for token in tokens]
    except KeyError:
        words = [_TABLE.get(token) or _new_word(token) for token in tokens]
    marked = [word for word in words if word.marked]
    if not marked:
        return words
    foreign = named = 0
    for word in marked:
        foreign += word.foreign
        named |= word.named
    if any(word.kind == "'" for word in marked):
        words = [part for word in words for part in _split_possessive(word)]
    if foreign and is_foreign(words):
        return []
    return find_names(words) if named else words


def _split_possessive(word: Word) -> tuple[Word, ...]:
    """`dog's` as two words."""
    if word.kind != "'":
        return (word,)
    owner = word.lemma
    return _TABLE.get(owner) or _new_word(owner), _POSSESSIVE


def _new_word(token: str) -> Word:
    if len(_TABLE) >= _TABLE_WORDS:
        _TABLE.clear()
    text = token.lower()
    case = "" if token == text else "U" if token.isupper() else "C" if token[1:].islower() or len(token) == 1 else "X"
    if token[0] in '.,;:!?()"|\n':
        word = _STOP
    elif text.endswith("'s") and len(text) > 3 and look_up(text).kind == "O":
        owner = _new_word(token[:-2])
        word = Word(text, "'", token[:-2], foreign=owner.foreign, named=owner.named, marked=True)
    elif token[0].isdecimal():
        word = Word(text, "D", text)
    else:
        word = replace(look_up(text), case=case)
        foreign, named = foreign_weight(word), may_name(word)
        word = replace(word, foreign=foreign, named=named, marked=bool(foreign or named))
    _TABLE[token] = word
    return word


def tag_caption(caption: str | None) -> Tagged:
    """Tag the words of a caption; [] for an empty one, or one of another language."""
    words = english_words(caption)
    return _tag(words) if words else []


def _tag(words: Sequence[Word]) -> Tagged:
    tagged: Tagged = []
    before = "."  # the tag before
    opened = ""  # how the noun phrase began: S (singular), D, J, P (behind a preposition) or "" outside one
    noun: Word | None = None  # the phrase's last noun so far
    actor: Word | None = None  # the last noun that can act, and has no verb yet
    subject: Word | None = None  # the last noun that acted
    joined = False  # "a man and a woman"
    count = len(words)
    for at, word in enumerate(words):
        kind = word.kind
        following = words[at + 1].kind if at + 1 < count else "."
        if kind in "AQBKXI":
            last = words[at - 1] if at else _STOP
            kind = _resolve(word, last, before, opened, noun, actor or subject, joined, following)
            if kind == "c":
                kind, word = "N", _CAN
        elif kind == "D" and word.text == "that" and before == "N":
            kind = "W"
        elif kind == "V" and opened in ("S", "D", "J") and noun is None and following in "NAQKIJM":
            kind = "J"  # "a parked car"
        elif kind == "O":
            if before in _OPEN and following not in _NOUNISH and following not in "OJ" and len(word.text) > 2:
                kind = "N"  # "a wug"
        elif kind == "G":
            kind = "J" if opened in ("S", "D") and noun is None and following in "NAQKIJM" else "V"
        if kind == "N" or kind == "M":
            if noun is not None and before == "N" and noun.animate and not word.animate:
                actor = None  # "a dog toy", "a hockey player uniform"
            noun = word
            # Two names that are joined are likely persons: "Gandalf and Frodo walk".
            if word.animate or (kind == "M" and at > 1 and words[at - 1].kind == "C" and words[at - 2].kind == "M"):
                joined = joined or not word.animate or (actor is not None and words[at - 1].kind == "C")
                actor = subject = word
            opened = opened or "N"
        elif kind in "SD":
            opened, noun = kind, None
            if word is _POSSESSIVE:
                actor = None
        elif kind == "J":
            if noun is not None:
                opened, noun = "J", None
            opened = opened or "J"
        elif kind == "P" or kind == "T":
            opened, noun = "P", None
        elif kind == "C":
            joined = joined or actor is not None
            opened, noun = "", None
        elif kind != "R" and kind != "O":
            if kind == "V":
                actor = None if not word.text.endswith("ing") else actor
            elif kind == ".":
                joined = False
                if word.text == "." and following != ".":
                    actor = actor if before == "N" else None
            opened, noun = "", None
        tagged.append((kind, word))
        before = "N" if kind == "M" else kind
    return tagged


def _resolve(
    word: Word,
    last: Word,
    before: str,
    opened: str,
    noun: Word | None,
    actor: Word | None,
    joined: bool,
    following: str,
) -> str:
    """The tag of a word with several readings: N, V, J or X, or "c" for the noun "can"."""
    kind = word.kind
    if kind == "X":
        return "c" if word.text == "can" and opened in ("S", "D") and before in _OPEN else "X"
    if kind == "K":
        return "J" if following in _NOUNISH or following == "J" or before == "X" or before == "R" else "N"
    if kind == "I":
        if opened and noun is None and before != "R":
            return "N"  # "the crossing", "a large gathering"
        return "V" if before == "X" or following in "SDUM" or (noun is not None and noun.animate) else "N"
    if before in "WU":
        return "V"
    if before == "T":
        return "V" if kind == "B" or following in "SDUPT." else "N"
    if before == "X":
        return "V" if kind == "B" or (last.text in MODALS and not word.plural) else "N"
    s_form = word.plural and word.text.endswith("s")
    if before == "O" and kind == "B" and s_form:
        return "V"
    if opened and noun is None:
        if before == "S" and s_form and kind != "A":
            return "V"  # "another looks on"
        if before == "D" and kind == "B" and not s_form and last.text in NUMBERS:
            return "V"  # "two play"
        if kind == "B" and opened == "P":
            return "N" if following in ".PC" and before == "P" else "V"
        if before == "R" and kind == "B":
            return "V"
        return "N"
    if noun is not None and before == "N":
        return _behind_noun(word, opened, noun, actor, joined, following)
    if before == "V" and s_form and (last.plural or last.text == last.verb):
        return "N"  # "wears watches": no verb in -s follows another one
    if kind == "B":
        return "V"
    if before == "R" and actor is not None:
        return "V" if kind == "Q" or following in "SDPT" else "N"
    if before == "C":
        fits = actor is not None and s_form != (actor.plural or joined)
        return "V" if kind == "Q" and following in "SDUPT" and fits else "N"
    return "N"


def _behind_noun(word: Word, opened: str, noun: Word, actor: Word | None, joined: bool, following: str) -> str:
    """The tag of a word with a verb reading that follows a noun: its verb, or the head of a compound."""
    kind = word.kind
    s_form = word.plural and word.text.endswith("s")
    fits = s_form != (noun.plural or joined)  # "a dog runs", "two dogs run"
    if noun.animate:
        if kind == "B":
            return "V" if fits or s_form or following in "SDPT" else "N"
        if s_form:
            return "V" if fits and (opened == "S" or kind == "Q" or following in "SDPTR.") else "N"
        return "V" if fits and (kind == "Q" or following in "SDPTR") else "N"
    if s_form:
        if opened == "S":
            return "V"  # "a glass doors" is no phrase, "a helmet rides" neither: then the man in it does
        return "V" if kind == "B" or (kind == "Q" and actor is not None and following in "SDPTR") else "N"
    if kind == "B":
        plural = actor is not None and (actor.plural or joined)
        return "V" if noun.plural or (plural and following not in ".C") else "N"
    return "V" if kind == "Q" and noun.plural and following in "SDPT" else "N"
