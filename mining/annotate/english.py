"""English phrases of nouns and verbs: "a red bus", "two dogs running", "Image 1 shows a cat, Image 2 a dog."."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from mining.text.kinds import MASS
from mining.text.word_lists import PLURALS

__all__ = ["counted", "every_image", "gerund", "listed", "noun_phrase", "plural", "varied"]

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SAID_AS_CONSONANT = ("uni", "use", "usu", "eu", "one", "uk", "ukulele")
_SINGULAR_ENDS = ("ss", "us", "is", "gas", "lens", "canvas", "atlas", "bias", "christmas", "pancreas")
_SAID_AS_VOWEL = ("hour", "honest", "heir")


@functools.lru_cache(maxsize=65_536)
def plural(noun: str) -> str:
    """ "dogs", "soccer balls", "people"; words that have no singular ("jeans") and mass nouns as they are."""
    from lemminflect import getInflection

    if noun == "person":
        return "people"
    head = noun.rpartition(" ")[2]
    if head in MASS or _is_plural(head):
        return noun
    found = getInflection(head, "NNS")
    return noun[: len(noun) - len(head)] + (found[0] if found else head + "s")


@functools.lru_cache(maxsize=8_192)
def gerund(verb: str) -> str:
    """ "running"; "parked" for what vehicles do."""
    from lemminflect import getInflection

    if verb == "park":
        return "parked"
    found = getInflection(verb, "VBG")
    return found[0] if found else verb + "ing"


def noun_phrase(noun: str, count: str = "1", adjectives: Sequence[str] = (), behind: str = "") -> str:
    """ "a red bus", "two dogs", "several people", "grass". count: a number as text, or "many"."""
    head = noun.rpartition(" ")[2]
    words = " ".join(adjectives)
    bare = head in MASS or _is_plural(head)
    if count in ("1", "") and not bare:
        said = f"{words} {noun}".strip()
        text = f"{_article(said)} {said}"
    elif count in ("1", ""):
        text = f"{words} {noun}".strip()
    else:
        text = f"{counted(count)} {f'{words} {plural(noun)}'.strip()}"
    return f"{text} {behind}".strip()


def _is_plural(noun: str) -> bool:
    """Whether a lemma has no singular: "jeans", "sunglasses", "stairs"."""
    return noun in PLURALS or (noun.endswith("s") and not noun.endswith(_SINGULAR_ENDS))


def counted(count: str) -> str:
    """A count as a word: "two", "several" for "many"."""
    if count == "many":
        return "several"
    return _NUMBERS[int(count)] if count.isdigit() and int(count) < len(_NUMBERS) else count


def _article(said: str) -> str:
    vowel = said.startswith(("a", "e", "i", "o", "u")) and not said.startswith(_SAID_AS_CONSONANT)
    return "an" if vowel or said.startswith(_SAID_AS_VOWEL) else "a"


def every_image(count: int) -> str:
    """ "Both images", "All images"."""
    return "Both images" if count == 2 else "All images"


def listed(images: Sequence[int]) -> str:
    """ "Image 1", "Images 1 and 3"; images: positions from 0."""
    names = [str(image + 1) for image in images]
    if len(names) == 1:
        return f"Image {names[0]}"
    return f"Images {', '.join(names[:-1])} and {names[-1]}"


def varied(phrases: Sequence[str | None], one: str = "shows", several: str = "show") -> str:
    """ "Image 1 shows a cat, Image 2 a dog."; phrases: of each image, None for one that is left out."""
    groups: dict[str, list[int]] = {}
    for image, phrase in enumerate(phrases):
        if phrase is not None:
            groups.setdefault(phrase, []).append(image)
    parts: list[str] = []
    for phrase, images in groups.items():
        verb = f" {one if len(images) == 1 else several}" if not parts else ""
        parts.append(f"{listed(images)}{verb} {phrase}")
    return ", ".join(parts) + "."
