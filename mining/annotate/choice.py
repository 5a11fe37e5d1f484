"""Text-to-image choice: which image of a set suits a caption. CaD-VI's second turn, and the form of its evaluation.

chosen = draw_choice(pair, seed=0)          # a fair coin for the caption, and one for the order of the images
question, answer = choice_turns(chosen)     # Image 1: <image> ... A. Image 1, B. Image 2 -> "B"
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from mining.annotate.caption_image import names_something
from mining.annotate.prompts import drawn, load_prompt
from mining.annotate.quotes import captions_of
from mining.sets.annotation import Part, Turn
from mining.sets.image_set import ImageSet

__all__ = ["CHOICE_VERSION", "Choice", "choice_turns", "draw_choice", "image_places"]


# Raised with every change of which caption is asked about, since annotations are kept with it.
CHOICE_VERSION = 2
_WORDS = re.compile(r"\w+")
_ARTICLE = re.compile(r"^(?:a|an|the) ")


@dataclass(frozen=True)
class Choice:
    """A caption, the order in which the images are shown (positions in the set), and the position that it describes."""

    caption: str
    order: tuple[int, ...]
    answer: int

    @property
    def letter(self) -> str:
        """The right option: A for the image that is shown first."""
        return string.ascii_uppercase[self.order.index(self.answer)]

    @property
    def options(self) -> tuple[str, ...]:
        return tuple(f"Image {number}" for number in range(1, len(self.order) + 1))


def draw_choice(each: ImageSet, seed: int = 0, *, reorder: bool = True) -> Choice | None:
    """The choice of a set, drawn by the hash of its id and `seed`.

    The first caption of the drawn image that names something is asked about. reorder: whether the images may be shown
    in another order than the set's. None for a set of fewer than two images or more than 26, one in which an image
    lacks a caption, and where the caption names nothing or is within one of another image's.
    """
    if not 2 <= each.size <= len(string.ascii_uppercase):
        return None
    captions = [captions_of(member) for member in each.members]
    if not all(captions):
        return None
    answer = drawn(each.size, "choice caption", seed, each.set_id)
    caption = next((each for each in captions[answer] if names_something(each)), None)
    others = [said for place, own in enumerate(captions) if place != answer for said in own]
    if caption is None or any(_is_within(caption, other) for other in others):
        return None
    order = list(range(each.size))
    if reorder:
        for last in range(each.size - 1, 0, -1):
            other = drawn(last + 1, "choice order", seed, each.set_id, last)
            order[last], order[other] = order[other], order[last]
    return Choice(caption, tuple(order), answer)


def _is_within(caption: str, other: str) -> bool:
    """Whether a caption is a phrase of another one, as "The meadow" is of "a cow in a meadow" and "a brown dog" is not
    of "a dog". Case, punctuation and a first article do not count."""
    own, whole = (" ".join(_WORDS.findall(text.casefold())) for text in (caption, other))
    return f" {_ARTICLE.sub('', own)} " in f" {whole} "


def choice_turns(choice: Choice, *, images: bool = True) -> tuple[Turn, Turn]:
    """Question and answer; images: whether the images are shown above the question, else an earlier turn shows them."""
    prompt = load_prompt("questions")
    section = "choice" if len(choice.order) == 2 else "choice of several"
    options = [f"{letter}. {option}" for letter, option in zip(string.ascii_uppercase, choice.options, strict=False)]
    asked = prompt.fill(section, caption=choice.caption.replace('"', "'"))
    question = "\n".join([asked, *options, prompt.sections["options"]])
    shown = image_places(choice.order) if images else ()
    return Turn("user", (*shown, "\n" + question) if shown else (question,)), Turn("assistant", (choice.letter,))


def image_places(order: tuple[int, ...] | range) -> tuple[Part, ...]:
    """The parts "Image 1: ", an image, "\\nImage 2: ", an image: one line an image, as CaD-VI shows them."""
    parts: list[Part] = []
    for number, image in enumerate(order, 1):
        parts += [("\n" if number > 1 else "") + f"Image {number}: ", image]
    return tuple(parts)
