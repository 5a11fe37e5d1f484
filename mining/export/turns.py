"""The turns of a conversation about a set, ready for training: images in their places, texts without special strings.

question, answer = training_turns(pair, [("Which is older?", "The left one.")], text_filter("vicuna_v1"))
question.parts == ("Image 1: ", 0, "\\nImage 2: ", 1, "\\nWhich is older?")

Some published annotations show images without a question, such as notes on differences; those get one by their kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from index.errors import BadInput
from mining.sets.annotation import Part, Turn
from mining.sets.image_set import ImageSet

__all__ = ["QUESTIONS", "Answer", "Question", "Turns", "asked_turns", "caption_turns", "question_for", "training_turns"]

# The turns of a conversation, or (question, answer) again and again.
Turns = Sequence[Turn] | Sequence[tuple[str, str]]
# The turns for a set; None to skip it.
Answer = Callable[[ImageSet], Turns | None]

# A question for all that have none of their own, or by kind; None for those of QUESTIONS.
Question = str | Mapping[str, str] | None

# The questions of annotations that have none, by kind; `captions` is that of sets whose captions are the answer.
QUESTIONS: Mapping[str, str] = {
    "captions": "What does each image show?",
    "comparison": "What differs between the images, and what is alike?",
    "difference_note": "What differs between the images?",
    "group_caption": "What do the images have in common?",
    "story": "Which story do the images tell?",
}
_OTHER_KINDS = "Describe what is shown."
# A text that begins so goes on in the line of the image before it.
_GOES_ON = ",.;:!?)]}"


def question_for(kind: str, question: Question = None) -> str:
    """The question of annotations of this kind that have none: of `question`, else of QUESTIONS."""
    if isinstance(question, str):
        return question
    return (question or {}).get(kind) or QUESTIONS.get(kind, _OTHER_KINDS)


def asked_turns(each: ImageSet, turns: Sequence[Turn], question: str) -> tuple[Turn, ...]:
    """The turns of an annotation, each answer with a question, and questions below the images that they follow.

    Where a user's turn shows images without a word and the answer follows, `question` is put below the images; so it is
    where an answer comes first, or after an empty turn, and no turn shows the images. Where the user's images are
    followed by text alone, the text begins a line of its own ("<image>\\nWhat is this?").
    """
    said = list(turns)
    if each.size and not any(turn.images for turn in said):
        first = next((number for number, turn in enumerate(said) if turn.role != "system"), len(said))
        if first < len(said) and said[first].role == "assistant":
            said.insert(first, Turn("user", (question,)))
        elif said[first + 1 : first + 2] and said[first + 1].role == "assistant" and not said[first].text.strip():
            said[first] = Turn("user", (question,))
    asks = False  # whether the user said a word since the last answer
    for number, turn in enumerate(said):
        if turn.role == "user":
            answered = said[number + 1 : number + 2] and said[number + 1].role == "assistant"
            asks = asks or bool(turn.text.strip())
            if turn.images and answered and not asks:
                turn = Turn("user", (*turn.parts, question))
            said[number] = Turn("user", _below_images(turn.parts))
        elif turn.role == "assistant":
            asks = False
    return tuple(said)


def caption_turns(each: ImageSet, question: str = QUESTIONS["captions"]) -> Turns | None:
    """The question what each image shows, and the captions unchanged; None without images or without a caption."""
    lines = []
    for place, caption in enumerate(each.captions, 1):
        words = (caption or "").split()
        if not words:
            return None
        lines.append(f"Image {place}: {' '.join(words)}")  # a caption is one line, since each line stands for an image
    return [(question, "\n".join(lines))] if lines else None


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


def _below_images(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts with a line end between images and a text after them, where the turn is images and then text alone."""
    images = next((place for place, part in enumerate(parts) if isinstance(part, str) and part), len(parts))
    text = parts[images:]
    if not text or not any(isinstance(part, int) for part in parts[:images]) or any(map(_is_image, text)):
        return parts
    glued = not str(text[0])[0].isspace() and str(text[0])[0] not in _GOES_ON
    return (*parts[:images], *(("\n",) if glued else ()), *text)


def _is_image(part: Part) -> bool:
    return isinstance(part, int)


def _listed(each: ImageSet, turns: object) -> Sequence[object]:
    if isinstance(turns, str) or not isinstance(turns, Sequence):
        raise _no_turns(each, turns)
    return turns


def _turns_in(turn: object) -> int:
    return 1 if isinstance(turn, Turn) else 2


def _turn(each: ImageSet, turn: object, place: int) -> Turn:
    """A Turn as it is, or the one at `place` of (question, answer)."""
    if isinstance(turn, tuple | list) and len(turn) == 2 and all(isinstance(text, str) for text in turn):
        turn = Turn(("user", "assistant")[place], (turn[place],))
    if not isinstance(turn, Turn) or any(type(part) is not int and not isinstance(part, str) for part in turn.parts):
        raise _no_turns(each, turn)
    try:
        turn.text.encode()
    except UnicodeEncodeError as error:
        broken = error.object[error.start]
        raise BadInput(f"set {each.set_id}: a turn has a text that is no Unicode (character {broken!r})") from error
    return turn


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
