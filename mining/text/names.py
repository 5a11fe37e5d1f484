"""Names of people, products, places and works in a caption: found by capitals, lists and the lexicon's gaps.

    find_names(words of "Eiffel Tower at Sunset")      # "eiffel tower" is one word of kind M

A word that the English lexicon lacks is a name where it is capitalised. Words that it knows are part of a name where a
list says so ("Taylor Swift", "Ford Mustang", "White House") or where they end a name ("Abbey Road"). In titles every
word is capitalised, so capitals alone say nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence

from mining.text.lexicon import Word
from mining.text.word_lists import COMPOUNDS, NAMES, PRODUCTS, SEVERAL_WORD_NAMES, STOP_NOUNS

__all__ = ["BEGINS", "CLOSES", "find_names", "head_noun", "may_name", "surname"]

# Bits of `Word.named`.
BEGINS, CLOSES = 1, 2

_GIVEN, _SURNAMES, _BRANDS, _PLACES = NAMES["given names"], NAMES["surnames"], NAMES["brands"], NAMES["places"]
_HEADS, _BEFORE, _BETWEEN, _VERSIONS = NAMES["heads"], NAMES["before"], NAMES["between"], NAMES["versions"]
_NOT_NAMES = NAMES["not names"]
_LISTED = _GIVEN | _BRANDS | _PLACES
_CLOSED = frozenset("SDPTCXUWF.'")
_MOST_NAME_WORDS = 6


def may_name(word: Word) -> int:
    """BEGINS if a name may begin with this word, CLOSES if it may close one, their sum, or 0."""
    text = word.text
    if not word.case:
        begins = (
            word.kind == "O" and (text in _BRANDS or text in _PLACES or text in SEVERAL_WORD_NAMES)
        ) or text == "new"  # "new york"
        return BEGINS if begins else 0
    begins = text in _LISTED or text in _BEFORE or text in SEVERAL_WORD_NAMES or _is_unknown(word)
    return (BEGINS if begins else 0) | (CLOSES if text in _HEADS else 0)


def find_names(words: Sequence[Word]) -> list[Word]:
    """The words with each name as one word of kind M, its text in lower case without numbers ("nike", "air max").

    words: at least one has `Word.named`; others are returned as they are.
    """
    sentence = _is_sentence(words)
    closing = sentence and any(word.named & CLOSES for word in words)
    places = [at for at, word in enumerate(words) if word.named & BEGINS or (closing and word.case)]
    found: list[Word] = []
    done = 0  # words that are read
    for at in places:
        if at < done:
            continue
        end, person = _name_end(words, at, sentence)
        while end > at:
            found += words[done:at]
            found.append(_name(words[at:end], person))
            done = at = end
            # Right behind a brand, a word that is no name elsewhere may be its product: "Nike Air".
            if found[-1].text in _BRANDS and at < len(words) and words[at].case:
                end, person = _name_end(words, at, sentence)
    return [*found, *words[done:]]


def _name(words: Sequence[Word], person: bool) -> Word:
    parts = [word.text for word in words if word.kind != "D" and not word.text[-1].isdigit()]
    text = " ".join(parts)
    return Word(text, "M", text, plural=text.endswith("s") and text not in _BRANDS, animate=person)  # "the Lakers play"


def head_noun(name: str) -> str:
    """The noun that a name of several words ends in: "tower" of "eiffel tower"; "" where there is none."""
    first, _, last = name.rpartition(" ")
    return last if first and last in _HEADS and first.partition(" ")[0] not in _GIVEN and last not in STOP_NOUNS else ""


def surname(name: str) -> str:
    """ "obama" of "barack obama"; "" for a name that begins with no first name."""
    first, _, rest = name.partition(" ")
    return rest.rpartition(" ")[2] if first in _GIVEN else ""


def _is_sentence(words: Sequence[Word]) -> bool:
    """Whether the capitals of a caption mean names; in titles, most words that carry meaning are capitalised."""
    capitals = lower = 0
    begins = True
    for word in words:
        kind = word.kind
        if begins or kind in _CLOSED:
            begins = kind == "."
        elif word.case:
            capitals += 1
        elif kind != "O":
            lower += 1
    return lower > 0 and 4 * lower >= capitals


def _name_end(words: Sequence[Word], at: int, sentence: bool) -> tuple[int, bool]:
    """(the end of the name that begins here, whether it is a person's); the end is `at` where none begins."""
    word = words[at]
    if at + 1 < len(words) and (word.text, words[at + 1].lemma) in COMPOUNDS:
        return at, False
    end = _several_words(words, at)
    if end > at:
        return end, False
    if word.kind == "M":  # the second part of a brand's product
        return at + 1, False
    if word.text in _BRANDS:
        return _brand_end(words, at)
    if at and words[at - 1].text in _BRANDS and word.case and _is_product(words[at - 1].text, word):
        return _product_end(words, at), False
    if word.text in _GIVEN and word.case:
        end = _person_end(words, at, sentence)
        if end > at + 1 or word.kind == "O":
            return end, True
    if word.text in _PLACES and (word.kind == "O" or (word.case and at and words[at - 1].kind in "PT.")):
        return _going_on(words, at + 1, sentence), False
    if not word.case:
        return at, False
    if word.text in _BEFORE and at + 1 < len(words) and _is_unknown(words[at + 1]):
        return _going_on(words, at + 1, sentence), False
    if _is_unknown(word) and (word.case != "U" or len(word.text) > 3):
        return _going_on(words, at + 1, sentence), False
    if sentence and _is_capital(word):
        return _capital_run_end(words, at), False
    return at, False


def _several_words(words: Sequence[Word], at: int) -> int:
    """The end of a listed name of several words. In lower case it needs a word that is no English word ("new york")."""
    for name in SEVERAL_WORD_NAMES.get(words[at].text, ()):
        end = at + len(name)
        part = words[at:end]
        if tuple(word.text for word in part) != name:
            continue
        if all(word.case for word in part if word.kind not in _CLOSED) or any(word.kind == "O" for word in part):
            return end
    return at


def _brand_end(words: Sequence[Word], at: int) -> tuple[int, bool]:
    """A brand is a name of its own; one that is a word as well needs its product or an unknown word behind it."""
    word = words[at]
    following = words[at + 1] if at + 1 < len(words) else None
    if word.kind == "O":
        return at + 1, False
    known = word.case and following is not None and following.case
    if known and following is not None and (_is_product(word.text, following) or _is_unknown(following)):
        return at + 1, False
    if word.case and at and words[at - 1].text == "by":
        return at + 1, False
    return at, False


def _is_product(brand: str, word: Word) -> bool:
    return word.text in PRODUCTS.get(brand, ()) or _is_unknown(word)


def _product_end(words: Sequence[Word], at: int) -> int:
    """The end of a product's name, with its numbers and versions: "Galaxy S10 Plus"."""
    brand = words[at - 1].text
    end = at + 1
    while end < len(words) and end - at < _MOST_NAME_WORDS:
        word = words[end]
        number = any(map(str.isdigit, word.text))
        if not number and not (word.case and (word.text in _VERSIONS or _is_product(brand, word))):
            break
        end += 1
    return end


def _person_end(words: Sequence[Word], at: int, sentence: bool) -> int:
    """The end of a first name and the surnames behind it."""
    end = at + 1
    while end < len(words) and end - at < 4:
        word = words[end]
        listed = word.case and (word.text in _SURNAMES or word.text in _GIVEN)
        # In titles a capitalised word behind a first name may be a verb or a thing.
        likely = sentence and end == at + 1 and _is_capital(word)
        if word.text in _BETWEEN and end + 1 < len(words) and words[end + 1].case:
            end += 2
        elif listed or likely or _is_unknown(word):
            end += 1
        else:
            break
    return end


def _going_on(words: Sequence[Word], end: int, sentence: bool) -> int:
    """The end of a name of unknown words: more of them, and a noun that closes it ("Louvre Museum")."""
    start = end
    while end < len(words) and end - start < _MOST_NAME_WORDS:
        word = words[end]
        if word.text in _BRANDS or word.text in _PLACES:
            break
        if _is_unknown(word) or (sentence and word.text in _SURNAMES and word.case == "C" and word.text not in _HEADS):
            end += 1
        elif word.text in _BETWEEN and end + 1 < len(words) and _is_unknown(words[end + 1]):
            end += 2
        else:
            break
    if end < len(words) and words[end].text in _HEADS and words[end].case:
        end += 1
    return end


def _capital_run_end(words: Sequence[Word], at: int) -> int:
    """The end of capitalised words within a sentence that close with a noun of names: "Central Park"."""
    if at and words[at - 1].text in ("a", "an"):
        return at
    end = at
    while (
        end < len(words) and end - at < _MOST_NAME_WORDS and words[end].case == "C" and words[end].kind not in _CLOSED
    ):
        end += 1
        if words[end - 1].text in _HEADS and end - at > 1:
            return end
    return at


def _is_unknown(word: Word) -> bool:
    """A capitalised word that the lexicon lacks, without digits."""
    if not word.case or word.kind != "O" or len(word.text) < 2 or word.text in _NOT_NAMES:
        return False
    return word.text.replace("-", "").replace("'", "").isalpha()


def _is_capital(word: Word) -> bool:
    return word.case == "C" and word.kind not in _CLOSED
