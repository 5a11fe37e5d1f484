"""SEED-Bench's own file (arXiv 2307.16125): questions with four options about images, and about frames of videos.

    {"questions": [{"question_id", "question", "choice_a", ..., "choice_d", "answer": "A", "data_type": "image",
                    "data_id", "question_type_id"}, ...], "question_type": {"Scene Understanding": 1, ...}}

Videos are asked about by frames that were taken out as images: one of each question, which LLaVA's script names
TYPE_ID.png, or two, which CaD-VI's names TYPE_ID_0.png and TYPE_ID_1.png.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from customize.lmm.evaluate.question import Question, options_in
from mining.annotate.choice import image_places
from mining.sets.annotation import Part, Turn
from mining.sets.importers.record import NamedImage

__all__ = ["parse_seed"]

_LETTERS = "ABCD"
_ANSWER = "Answer with the option's letter from the given choices directly."  # LLaVA-1.5's format prompt


def parse_seed(whole: Mapping[str, Any], data_type: str | None, frames: int) -> Iterator[Question | None]:
    """Yield the questions of one data type ("image", "video"; None: both), None for a record that is no question.

    frames: of a video, 1 or 2.
    """
    types = whole.get("question_type")
    names = {number: name for name, number in types.items()} if isinstance(types, Mapping) else {}
    for record in whole["questions"]:
        if not isinstance(record, Mapping):
            yield None
            continue
        if data_type is not None and record.get("data_type") != data_type:
            continue
        choices = [record.get(f"choice_{letter.lower()}") for letter in _LETTERS]
        listed = [f"{letter}. {_one_line(text)}" for letter, text in zip(_LETTERS, choices, strict=True) if text]
        own, kind = record.get("question_id"), record.get("question_type_id")
        if own is None or not record.get("question") or len(listed) < 2:
            yield None
            continue
        images, shown = _images(record, kind, own, frames)
        text = "\n".join([_one_line(record["question"]), *listed, _ANSWER])
        category = str(names.get(kind, kind))
        turn = Turn("user", (*shown, f"\n{text}"))
        yield Question(str(own), turn, images, str(record.get("answer", "")).strip(), options_in(text), category)


def _images(
    record: Mapping[str, Any], kind: Any, own: Any, count: int
) -> tuple[tuple[NamedImage, ...], tuple[Part, ...]]:
    if record.get("data_type") != "video":
        return (NamedImage(str(record.get("data_id"))),), (0,)
    if count == 1:
        return (NamedImage(f"{kind}_{own}.png"),), (0,)
    frames = tuple(NamedImage(f"{kind}_{own}_{frame}.png") for frame in range(count))
    return frames, image_places(range(count))


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())
