"""The lexicon: the word class of a single English word in captions, and its lemma as a noun.

lemminflect's bundled lexicon gives the readings of a word; `mining.text.word_lists` says which one captions mean.
Context is not looked at here: `mining.text.tagging` resolves words with two readings by the words around them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mining.text import word_lists as words
from mining.text.word_lists import ALIASES, COMPOUNDS

__all__ = ["Word", "look_up"]

_PLACES, _PLACE_ENDINGS = words.NAMES["places"], tuple(sorted(words.NAMES["endings"]))
_PLAIN = re.compile(r"[a-z][a-z'&/-]*\Z")
_CONTRACTION = re.compile(r"[a-z]'(?:ll|ve|re|d|m)\Z")


@dataclass(frozen=True, slots=True)
class Word:
    """A word without its context.

    kind: S "a", D another determiner or a number, P preposition, T "to", C conjunction, R adverb, W relative,
    U pronoun, X auxiliary, J adjective, N noun, V verb form (seen, parked), G -ing form; of two readings: A noun
    before verb, B verb before noun, Q either, K noun or adjective, I noun or -ing form; O unknown, F another
    language's function word. Made while reading a caption: M name, ' possessive ("dog's"), "." end of a phrase.
    lemma: as a noun, or the word. verb: the lemma as a verb, or "". plural: a plural, or a verb's -s form. stop: a stop
    noun. animate: a person or an animal. case: "" in lower case, C capitalised, U in capitals, X mixed. foreign: how
    much it speaks for another language (`language.foreign_weight`). named: whether a name may begin or close with it
    (`names.may_name`). marked: whether a caption with it must be looked at for names, possessives or its language.
    """

    text: str
    kind: str
    lemma: str
    verb: str = ""
    plural: bool = False
    stop: bool = False
    animate: bool = False
    case: str = ""
    foreign: int = 0
    named: int = 0
    marked: bool = False


_CLOSED = (
    ("S", words.SINGULAR), ("X", words.AUXILIARIES), ("W", words.RELATIVES - {"that"}), ("D", words.DETERMINERS),
    ("U", words.PRONOUNS), ("C", words.CONJUNCTIONS), ("P", words.PREPOSITIONS), ("R", words.ADVERBS),
    ("J", words.ADJECTIVES), ("F", words.FOREIGN_FUNCTION),
)  # fmt: skip


def look_up(text: str) -> Word:
    """Look up a lower-case word. Those of kinds O and F are never nouns. `mining.text.tagging` caches the results."""
    if text == "to":
        return Word(text, "T", text)
    for kind, members in _CLOSED:
        if text in members:
            return Word(text, kind, text)
    if _CONTRACTION.search(text):
        return Word(text, "X", text)  # "you'll", "they've": a verb follows
    if text in ALIASES:
        text = ALIASES[text]
    elif not _PLAIN.match(text) or len(text) < 2:
        return Word(text, "O", text)
    found = _readings(text)
    if not found and "-" in text:
        end = text.rpartition("-")[2]
        if end in words.ADJECTIVES or end.endswith("ed"):
            return Word(text, "J", text)  # "off-white", "long-haired"
    if not found and text.endswith("ans") and text[:-1] in words.ADJECTIVES:
        return Word(text, "N", text[:-1], "", True, False, True)  # "Africans"
    if not found:
        plural = text.endswith("s") and not text.endswith(("ss", "us", "is"))
        return Word(text, "O", text[:-1] if plural else text, "", plural)
    noun, verb = found.get("NOUN", ""), found.get("VERB", "")
    lemma = ALIASES.get(noun, noun) or text
    plural = text in words.PLURALS or (text.endswith("s") and bool({noun, verb} - {"", text}))
    kind = _kind(text, noun, verb, found)
    stop = lemma in words.STOP_NOUNS or lemma.rstrip("s") in words.STOP_NOUNS
    return Word(text, kind, lemma, verb, plural, stop, lemma in words.ANIMATE)


def _readings(text: str) -> dict[str, str]:
    """Part of speech -> lemma. A compound that the lexicon lacks is read as its last part."""
    from lemminflect import getAllLemmas

    if text in words.NOUNS or " " in text:
        return {"NOUN": text}
    found = {part: lemmas[0] for part, lemmas in getAllLemmas(text).items()}
    singular = text[:-1] if text.endswith("s") else ""
    if singular in words.NOUNS and text not in words.LEMMAS:
        return {"NOUN": singular}
    if text in words.LEMMAS:
        found["NOUN"] = words.LEMMAS[text]
    elif "NOUN" in found and text in getAllLemmas(text)["NOUN"] and not _is_s_form(text, found):
        found["NOUN"] = text  # "jeans", "scissors": the word is itself a lemma
    if found:
        return found
    return _closed_compound(text)


def _is_s_form(text: str, found: dict[str, str]) -> bool:
    return "VERB" in found and text.endswith("s") and found["NOUN"] == text[:-1]


def _closed_compound(text: str) -> dict[str, str]:
    """`snowfield` as a field, `dirt-bike` as a bike: two known words, of which the last is a noun."""
    from lemminflect import getAllLemmas

    if "-" in text:
        first, _, end = text.rpartition("-")
        last = getAllLemmas(end)
        if "NOUN" not in last or end in words.ADJECTIVES or end in words.PREPOSITIONS or end.endswith("ed"):
            return {}
        if (first, last["NOUN"][0]) in COMPOUNDS:
            return {"NOUN": f"{first} {last['NOUN'][0]}"}
        return {"NOUN": last["NOUN"][0]} if set(last) == {"NOUN"} else {}
    if not text.isalpha() or len(text) < 7 or text in _PLACES or text.endswith(_PLACE_ENDINGS):
        return {}
    for cut in range(3, len(text) - 2):
        first, last = text[:cut], getAllLemmas(text[cut:])
        if len(text) - cut >= 4 and "NOUN" in last and "NOUN" in getAllLemmas(first):
            return {"NOUN": first + last["NOUN"][0]}
    return {}


def _kind(text: str, noun: str, verb: str, found: dict[str, str]) -> str:
    if text in words.HEAD_ADJECTIVES:
        return "K"
    if text.endswith("ing") and text in words.ING_NOUNS:
        return "I" if verb and verb != text else "Q" if verb in words.VERBS_SECOND else "N"
    if text.endswith("ing") and verb:
        return "G"
    if noun in words.ADJECTIVES and not text.endswith("s"):
        return "J"
    if text in words.LEMMAS:
        return "N" if noun else "V"
    if noun and verb:
        if verb in words.ONLY_VERBS:
            return "V"
        if verb in words.VERBS:
            return "B" if text in (verb, noun) or text.endswith("s") else "V"
        if verb in words.VERBS_SECOND:
            return "Q"
        return "A"
    if noun:
        return "K" if "ADJ" in found or "ADV" in found else "N"
    if verb:
        return "V"
    return "J" if "ADJ" in found else "R" if "ADV" in found else "O"
