"""The turns of a conversation about a set, ready for training: images in their places, texts without special strings.

question, answer = training_turns(pair, [("Which is older?", "The left one.")], text_filter("vicuna_v1"))
question.parts == ("Image 1: ", 0, "\\nImage 2: ", 1, "\\nWhich is older?")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from index.errors import BadInput
from mining.sets.annotation import Part, Turn
from mining.sets.image_set import ImageSet

__all__ = ["Answer", "Turns", "caption_turns", "training_turns"]

# The turns of a conversation, or (question, answer) again and again.
Turns = Sequence[Turn] | Sequence[tuple[str, str]]
# The turns for a set; None to skip it.
Answer = Callable[[ImageSet], Turns | None]

_QUESTION = "What does each image show?"


def caption_turns(each: ImageSet) -> Turns | None:
    """The question what each image shows, and the captions unchanged; None without images or without a caption."""
    lines = []
    for place, caption in enumerate(each.captions, 1):
        words = (caption or "").split()
        if not words:
            return None
        lines.append(f"Image {place}: {' '.join(words)}")  # a caption is one line, since each line stands for an image
    return [(_QUESTION, "\n".join(lines))] if lines else None


def training_turns(each: ImageSet, turns: Turns, plain: Callable[[str], str]) -> tuple[Turn, ...]:
    """The turns with every image that they show in its place.

    Where no turn shows an image, all images of the set stand above the first question, a line "Image 1: " each, as in
    CaD-VI. plain: applied to every text. Raises BadInput for anything but turns, for turns of which none is the
    assistant's, and for an image that the set does not have.
    """
    said = [_turn(each, turn, place) for turn in _listed(each, turns) for place in range(_turns_in(turn))]
    if not any(turn.role == "assistant" for turn in said):
        raise BadInput(f"set {each.set_id}: the turns have no answer (role assistant) to learn from")
    shown = [image for turn in said for image in turn.images]
    if any(not 0 <= image < each.size for image in shown):
        raise BadInput(f"set {each.set_id}: the turns show image {max(shown) + 1}, it has {each.size}")
    if each.size and not shown:
        said = _with_places(said, each.size)
    return tuple(Turn(turn.role, tuple(_joined(turn.parts, plain))) for turn in said)


def _listed(each: ImageSet, turns: object) -> Sequence[object]:
    if isinstance(turns, str) or not isinstance(turns, Sequence):
        raise _no_turns(each, turns)
    return turns


def _turns_in(turn: object) -> int:
    return 1 if isinstance(turn, Turn) else 2


def _turn(each: ImageSet, turn: object, place: int) -> Turn:
    """A Turn as it is, or the one at `place` of (question, answer)."""
    if isinstance(turn, Turn):
        return turn
    if isinstance(turn, tuple | list) and len(turn) == 2 and all(isinstance(text, str) for text in turn):
        return Turn(("user", "assistant")[place], (turn[place],))
    raise _no_turns(each, turn)


def _no_turns(each: ImageSet, what: object) -> BadInput:
    return BadInput(f"set {each.set_id}: an answer is a list of Turn or of (question, answer) texts, not {what!r:.100}")


def _with_places(turns: list[Turn], size: int) -> list[Turn]:
    """The turns with all images above the first question, or in a turn of their own before a first answer."""
    places: list[Part] = []
    for image in range(size):
        places += [("\n" if image else "") + f"Image {image + 1}: ", image]
    first = next((number for number, turn in enumerate(turns) if turn.role != "system"), 0)
    if turns[first].role == "user":
        return [*turns[:first], Turn("user", (*places, "\n", *turns[first].parts)), *turns[first + 1 :]]
    return [*turns[:first], Turn("user", tuple(places)), *turns[first:]]


def _joined(parts: Iterable[Part], plain: Callable[[str], str]) -> list[Part]:
    """Neighbouring texts as one, since a special string may begin in one and end in the next."""
    found: list[Part] = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        else:
            found.append(part)
    return [plain(part) if isinstance(part, str) else part for part in found]
