"""What a reply answers: exactly as the papers compare, and as a person would read it.

The papers' scripts compare the reply with the right letter or word; "A." or "Image 1" is then wrong. `read_choice` and
`read_statement` also understand such replies. They never guess: what names two options names none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mining.annotate.comparison import Comparison
from mining.annotate.parse import parse_comparison

__all__ = ["is_exact", "read_answer", "read_choice", "read_statement", "split_summary", "word_f1"]

_EDGES = " \t\r\n\"'`*_."
_STATED = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+(?:is|would be|should be))?\s*:?\s*(?:option\s+)?[\"'(*]*([A-Z])\b"
)
_LEADING = re.compile(r"^[\"'(*\[]*([A-Z])[\"')*\]]*(?:[.:,;)\-]|$)")
_NOT = re.compile(r"\b(?:not|isn't|is not)\s+(true|false|correct|right|accurate)\b")
_WORDS = re.compile(r"[a-z0-9]+")


def is_exact(reply: str, answer: str) -> bool:
    """Whether the reply is the right answer and nothing else, but for white space around it. CaD-VI's comparison."""
    return reply.strip() == answer.strip()


def read_choice(reply: str, options: Mapping[str, str]) -> str | None:
    """The letter of the option that a reply names: "A", "(A)", "A. Image 1", "Image 1", "The answer is A".

    None where it names no option, or several.
    """
    text = reply.strip()
    bare = text.strip(_EDGES).strip("()[]").strip(_EDGES)
    if len(bare) == 1 and bare.upper() in options:
        return bare.upper()
    leading = _LEADING.match(text)
    letter: str = leading[1] if leading is not None else ""
    if letter in options:
        return letter
    folded = " ".join(bare.split()).casefold()
    equal = [letter for letter, option in options.items() if _folded(option) == folded]
    if len(equal) == 1:
        return equal[0]
    stated: set[str] = {letter for letter in _STATED.findall(_capital_letters(text, options)) if letter in options}
    if len(stated) == 1:
        return stated.pop()
    within = [letter for letter, option in options.items() if _holds(folded, _folded(option))]
    return within[0] if len(within) == 1 and not stated else None


def read_statement(reply: str) -> str | None:
    """ "True" or "False" for a reply about a statement; "yes" and "no" count as well. None where it says neither."""
    words = reply.casefold().replace("’", "'")
    said: set[str] = set()
    negated = _NOT.search(words)
    if negated is not None:
        said.add("True" if negated[1] == "false" else "False")
        words = words[: negated.start()] + words[negated.end() :]
    found = set(_WORDS.findall(words))
    if found & {"true", "yes", "correct"}:
        said.add("True")
    if found & {"false", "no", "incorrect"}:
        said.add("False")
    return said.pop() if len(said) == 1 else None


def read_answer(reply: str, options: Mapping[str, str]) -> str | None:
    """The letter that a reply names, or True or False where the question has no options."""
    return read_choice(reply, options) if options else read_statement(reply)


def word_f1(reply: str, reference: str) -> float:
    """Harmonic mean of precision and recall of words, 0 to 1, each word counted as often as both texts have it.

    The F1 of SQuAD (Rajpurkar et al., EMNLP 2016, section 5) without its list of articles. It is no measure of the
    papers; it needs no judge.
    """
    said, expected = (_WORDS.findall(text.casefold()) for text in (reply, reference))
    if not said or not expected:
        return float(said == expected)
    common = sum(min(said.count(word), expected.count(word)) for word in set(said))
    return 2 * common / (len(said) + len(expected))


def split_summary(text: str) -> tuple[str, str] | None:
    """(commonalities, differences) of a summary, "" for a list that is missing; None for a text without such lists."""
    comparison = parse_comparison(text)
    if not isinstance(comparison, Comparison):
        return None
    lists = (comparison.commonalities, comparison.differences)
    common, different = ("\n".join(item.text for item in items) for items in lists)
    return common, different


def _folded(text: str) -> str:
    return " ".join(text.strip(_EDGES).split()).casefold()


def _holds(text: str, words: str) -> bool:
    return bool(words) and re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def _capital_letters(text: str, options: Mapping[str, str]) -> str:
    """The text in lower case but for single letters of options, so that "The Answer Is B" is found and "a" is not."""
    return re.sub(r"\w+", lambda word: word[0] if word[0] in options else word[0].lower(), text)
