"""A question about images with its right answer, and the same question with images or options in another order."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from mining.sets.annotation import Turn
from mining.sets.importers.record import NamedImage

__all__ = ["Kind", "Question", "kind_of", "options_in", "pair_ids", "swapped"]

# choice: answered by a letter. statement: by True or False. open: by a text. summary: by commonalities and differences.
Kind = Literal["choice", "statement", "open", "summary"]

_OPTION = re.compile(r"^\(?([A-Z])[.)]\s*(\S.*)$", flags=re.MULTILINE)
_SHOWS = re.compile(r"\s*(?:(?:left|right) )?image ?\d*:?\s*", re.IGNORECASE)
_PAIR = re.compile(r"(.+)_([01])")


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        question_id: unique within its task.
        turn: the user's turn; its parts are texts and positions in `images`.
        images: as the record names them.
        answer: the right letter, True or False, or a reference text; "" where the record has none.
        options: letter -> text of the option, as the question lists them.
        category: such as SVO-Probes' subject, verb and object; None where there are none.
        pair: the name of the pair that the question is one of two rounds of (EQBEN, COLA); None for a question alone.
    """

    question_id: str
    turn: Turn
    images: tuple[NamedImage, ...]
    answer: str
    options: Mapping[str, str] = field(default_factory=dict)
    category: str | None = None
    pair: str | None = None

    @property
    def words(self) -> str:
        """The question's text without the lines that show its images ("Image 1: ")."""
        texts = [part for part in self.turn.parts if isinstance(part, str) and not _SHOWS.fullmatch(part)]
        return "".join(texts).strip()


def options_in(text: str) -> dict[str, str]:
    """The options that a question lists, each on a line of its own: "A. Image 1". {} unless they are A, B, ..."""
    found = {match[1]: match[2].strip() for match in _OPTION.finditer(text)}
    letters = string.ascii_uppercase[: len(found)]
    return found if len(found) > 1 and list(found) == list(letters) else {}


def kind_of(question: Question) -> Kind:
    """How the question is answered, told by its options and its right answer."""
    if question.options and question.answer in question.options:
        return "choice"
    if not question.options and question.answer in ("True", "False"):
        return "statement"
    return "open"


def pair_ids(questions: Iterable[Question]) -> dict[str, str]:
    """question id -> name of its pair, where all questions are two rounds about the same images: ids `i_0` and `i_1`.

    {} where any question is not; as in the files of EQBEN and COLA of CaD-VI.
    """
    rounds: dict[str, list[Question]] = {}
    for question in questions:
        match = _PAIR.fullmatch(question.question_id)
        if match is None:
            return {}
        rounds.setdefault(match[1], []).append(question)
    if any(len(both) != 2 or both[0].images != both[1].images or not both[0].options for both in rounds.values()):
        return {}
    return {question.question_id: name for name, both in rounds.items() for question in both}


def swapped(question: Question) -> Question | None:
    """The question in another order, in which the right answer has another letter; None where that is not possible.

    A question whose two options are its two images shows the images in the other order. Of other options each moves up
    by one letter, and the first becomes the last. Statements stay as they are: they may speak of left and right.
    """
    options = question.options
    if question.answer not in options:
        return None
    letters = list(options)
    if [text.casefold() for text in options.values()] == ["image 1", "image 2"]:
        if len(question.images) != 2 or sorted(question.turn.images) != [0, 1]:
            return None
        other = letters[1 - letters.index(question.answer)]
        return replace(question, images=question.images[::-1], answer=other)
    texts = [*list(options.values())[1:], options[letters[0]]]
    moved = dict(zip(letters, texts, strict=True))
    parts = tuple(_relabelled(part, moved) if isinstance(part, str) else part for part in question.turn.parts)
    answer = letters[letters.index(question.answer) - 1]
    return replace(question, turn=Turn(question.turn.role, parts), options=moved, answer=answer)


def _relabelled(text: str, options: Mapping[str, str]) -> str:
    """The text with the options' texts behind the same letters replaced."""

    def line(match: re.Match[str]) -> str:
        return match[0][: match.start(2) - match.start()] + options[match[1]] if match[1] in options else match[0]

    return _OPTION.sub(line, text)
