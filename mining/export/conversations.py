"""The conversation about a set that a model is trained on: turns of question and answer, and the images' places.

The caller's function gives the turns, for instance an annotator's. Without one there is a single turn, whose answer is
the captions unchanged. Shared by `mining.export.llava` and `mining.export.messages`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from index.errors import BadInput
from mining.export.skipped import OnSkipped, SkippedSet
from mining.sets.image_set import ImageSet

__all__ = ["IMAGE", "Answer", "Turns", "answered_sets", "caption_turns", "turns_of", "with_places"]

# Stands for an image in LLaVA's conversations.
IMAGE = "<image>"

# (question, answer), again and again.
Turns = Sequence[tuple[str, str]]
# The turns for a set, without the images' places; None to skip the set.
Answer = Callable[[ImageSet], Turns | None]

_QUESTION = "What does each image show?"


def caption_turns(each: ImageSet) -> Turns | None:
    """One turn: the question what each image shows, and the captions; None where a member has no caption."""
    lines = []
    for place, caption in enumerate(each.captions, 1):
        words = (caption or "").split()
        if not words:
            return None
        lines.append(f"Image {place}: {' '.join(words)}")  # line ends within a caption go: a line is an image
    return [(_QUESTION, "\n".join(lines))]


def answered_sets(
    sets: Iterable[ImageSet], answer: Answer | None, on_skipped: OnSkipped, turns: dict[str, list[tuple[str, str]]]
) -> Iterator[ImageSet]:
    """Yield the sets that have turns and put these into `turns` by set_id; call `on_skipped` with the others."""
    for each in sets:
        found = turns_of(each, answer)
        if found is None:
            on_skipped(SkippedSet(each.set_id, None, "without an answer" if answer else "without a caption"))
        else:
            turns[each.set_id] = found
            yield each


def turns_of(each: ImageSet, answer: Answer | None) -> list[tuple[str, str]] | None:
    """The turns for a set, or None to skip it. `<image>` within a text becomes `image`.

    Captions come from the web and may hold that marker, which a trainer would count as one more image. Raises BadInput
    where `answer` returns anything but (question, answer) pairs of text.
    """
    turns = (answer or caption_turns)(each)
    if not turns:
        return None
    if isinstance(turns, str) or not all(_is_turn(texts) for texts in turns):
        raise BadInput(f"set {each.set_id}: an answer is a list of (question, answer) texts, not {turns!r:.100}")
    return [(question.replace(IMAGE, "image"), answered.replace(IMAGE, "image")) for question, answered in turns]


def with_places(each: ImageSet, question: str) -> str:
    """The images, a line "Image 1: <image>" each, and `question` below them, as in CaD-VI."""
    places = "".join(f"Image {place}: {IMAGE}\n" for place in range(1, each.size + 1))
    return places + question


def _is_turn(texts: object) -> bool:
    return isinstance(texts, tuple | list) and len(texts) == 2 and all(isinstance(text, str) for text in texts)
