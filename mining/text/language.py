"""Whether a caption is English, also where it is a short title without function words ("Rote Handtasche").

Each word speaks for English or for another language, or for neither. Function words count most, then words of
`mining/text/words/languages.txt`, letters that English does not use, and endings that it does not have. Words that the
English lexicon knows speak for English; unknown words in capitals are mostly names and say little.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mining.text.lexicon import Word
from mining.text.word_lists import FOREIGN, FOREIGN_FUNCTION, PARTICLES, SHARED_WORDS, WORD_PATTERNS

__all__ = ["foreign_weight", "is_foreign"]

# What a word of a kind says for English. Words of a letter or two are words of other languages too.
_ENGLISH = dict.fromkeys("SDPTCXUWR", 4) | dict.fromkeys("NJVGAQBKI", 2)
_SHARED_WEIGHT = 2
# A word of at least this weight is certainly of another language; smaller weights only add up.
_SURE = 4
# Letters of alphabets other than English. Those of the first are common in names and loan words ("café").
_ACCENTED = re.compile("[áàâäãéèêëíìîïóòôöõúùûüñç]")
_SPECIAL = re.compile(
    "[åæøœßþðāăąćčďđēěęğīįıķłļľńňņőřŗśşșšťțţūůűųŵŷýźżž]|[ơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]"
)
_LATIN_END = 0x24F
_SURE_ENDING = re.compile(rf"(?:{'|'.join(WORD_PATTERNS['sure endings'])})\Z")
_PATTERN = re.compile(rf"(?:{'|'.join(WORD_PATTERNS['endings'])})\Z|{'|'.join(WORD_PATTERNS['inside'])}")


def foreign_weight(word: Word) -> int:
    """How much a word speaks for another language, 0 for not at all; word.case says how it is written."""
    text = word.text
    if word.kind == "F":
        return 4 if len(text) > 2 or word.case != "U" else 0
    if text in FOREIGN or text in FOREIGN_FUNCTION:
        return 4
    if word.kind != "O" or len(text) < 2 or any(letter.isdigit() for letter in text):
        return 0
    if any(ord(letter) > _LATIN_END and letter.isalpha() for letter in text) and not _SPECIAL.search(text):
        return 4 + len(text) // 3
    capital = bool(word.case)
    if _SPECIAL.search(text) or _SURE_ENDING.search(text):
        return 4
    if _ACCENTED.search(text):
        return 2 if capital else 4
    if _PATTERN.search(text):
        return 1 if capital else 3
    return 0 if capital else 2


def is_foreign(words: Sequence[Word]) -> bool:
    """Whether a caption is of another language than English.

    words: with their weights. Without a word that is surely of another language, at least two must be likely of one,
    and nearly nothing may speak for English.
    """
    foreign = english = 0
    sure = False
    last = len(words) - 1
    for at, word in enumerate(words):
        weight = word.foreign
        if weight:
            if word.text in PARTICLES and 0 < at < last and words[at - 1].case and words[at + 1].case:
                continue
            foreign += weight
            sure = sure or weight >= _SURE
        elif word.text in SHARED_WORDS:
            english += _SHARED_WEIGHT
        elif not word.text[0].isdigit():
            english += _ENGLISH.get(word.kind, 0)
    if sure:
        return foreign > english
    return foreign >= 4 and foreign > english + 2
