"""What a set says to a model in training: turns of question and answer, with the places of its images.

An annotator's answers come from a function of the caller's. Without one the answers are the captions as they stand:
plain truth as far as the corpus knows it, and no text made up. Knows no file format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from index.errors import BadInput
from mining.export.skipped import OnSkipped, SkippedSet
from mining.sets.image_set import ImageSet

__all__ = ["IMAGE", "Answer", "Turns", "answered_sets", "caption_turns", "turns_of", "with_places"]

# Marks an image's place in LLaVA's conversations.
IMAGE = "<image>"

Turns = Sequence[tuple[str, str]]
# The turns of (question, answer) for a set, without the images' places; None leaves the set out.
Answer = Callable[[ImageSet], Turns | None]

_QUESTION = "What does each image show?"


def caption_turns(each: ImageSet) -> Turns | None:
    """One round: what each image shows, answered by the captions; None where a member has no caption."""
    lines = []
    for place, caption in enumerate(each.captions, 1):
        words = (caption or "").split()
        if not words:
            return None
        lines.append(f"Image {place}: {' '.join(words)}")  # a line each: a line end inside would begin another image
    return [(_QUESTION, "\n".join(lines))]


def answered_sets(
    sets: Iterable[ImageSet], answer: Answer | None, on_skipped: OnSkipped, turns: dict[str, list[tuple[str, str]]]
) -> Iterator[ImageSet]:
    """The sets that have turns, which are put into `turns` by set_id; `on_skipped` hears of the others."""
    for each in sets:
        found = turns_of(each, answer)
        if found is None:
            on_skipped(SkippedSet(each.set_id, None, "without an answer" if answer else "without a caption"))
        else:
            turns[each.set_id] = found
            yield each


def turns_of(each: ImageSet, answer: Answer | None) -> list[tuple[str, str]] | None:
    """The turns for a set, with no image's place inside a text; None where it is to be left out.

    Captions come from the web and may hold the marker itself, which a trainer would count as one more image.
    BadInput where `answer` gives something else than (question, answer) pairs of text.
    """
    turns = (answer or caption_turns)(each)
    if not turns:
        return None
    if isinstance(turns, str) or not all(_is_turn(texts) for texts in turns):
        raise BadInput(f"set {each.set_id}: an answer is a list of (question, answer) texts, not {turns!r:.100}")
    return [(question.replace(IMAGE, "image"), answered.replace(IMAGE, "image")) for question, answered in turns]


def with_places(each: ImageSet, question: str) -> str:
    """`question` below the images, as CaD-VI asks: "Image 1: <image>", a line an image."""
    places = "".join(f"Image {place}: {IMAGE}\n" for place in range(1, each.size + 1))
    return places + question


def _is_turn(texts: object) -> bool:
    return isinstance(texts, tuple | list) and len(texts) == 2 and all(isinstance(text, str) for text in texts)
