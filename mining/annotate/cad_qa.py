"""CaD-QA: open questions about an image set, written by a model from captions and a comparison. CaD-VI, section 4.

The model writes several rounds, of which one is drawn. `content` marks a question that is about one image only, as
2,916 of the paper's 7,520 are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mining.annotate.choice import image_places
from mining.annotate.comparison_task import repeated
from mining.annotate.parse import refusal, without_thinking
from mining.annotate.prompts import drawn, load_prompt, prompts_hash, quoted_blocks
from mining.annotate.quotes import (
    annotation_text,
    image_names,
    labelled_captions,
    latest,
    number_word,
    source_of,
)
from mining.annotate.task import Answer, Asked, Unparsed
from mining.sets.annotation import Turn
from mining.sets.image_set import ImageSet

__all__ = ["CadQaTask", "Round", "parse_rounds"]

NEW_TOKENS = 750
_MOST_CHARACTERS = 200_000
_LONGEST_ROUND = 4_000  # characters that are read of one round
_LABEL = re.compile(
    r"(?:round )?(?:\(?\d{1,2}[.):]? ?)?"
    r"(?:(?P<question>question|q|person|user|human)|(?P<images>images?)|(?P<answer>answer|a|assistant))"
    r" ?\d{0,2} ?[:：] ?",
    re.IGNORECASE,
)
_IMAGE_NUMBER = re.compile(r"\bimage ?#?(\d+)", re.IGNORECASE)
_ORDINAL_IMAGE = re.compile(r"\b(first|second|third) (?:image|picture|photo)", re.IGNORECASE)
_SEVERAL = re.compile(
    r"\b(?:images|pictures|photos|both|each|all|differ\w*|common|compare\w*|two|share\w*)\b", re.IGNORECASE
)
_LEAKS = re.compile(r"\b(?:captions?|summary|summaries|quotations?)\b", re.IGNORECASE)
_CLOSING = (".", "!", "?", '"', "'", ")", "”", "’")


@dataclass
class Round:
    """A question, its answer and the positions of the images that it is about; () where that is not said."""

    question: str = ""
    answer: str = ""
    images: tuple[int, ...] = ()

    def about(self, size: int) -> tuple[int, ...]:
        """The positions of the images that the question is about, among `size`: as said, else by its words."""
        said = tuple(image for image in self.images if image < size)
        if said:
            return said
        named = {int(number) - 1 for number in _IMAGE_NUMBER.findall(self.question)}
        named |= {("first", "second", "third").index(word.lower()) for word in _ORDINAL_IMAGE.findall(self.question)}
        named = {image for image in named if 0 <= image < size}
        if len(named) == 1 and not _SEVERAL.search(self.question):
            return tuple(named)
        return tuple(range(size))

    def to_json(self, size: int) -> dict[str, Any]:
        about = self.about(size)
        return {
            "question": self.question,
            "answer": self.answer,
            "images": list(about),
            "one_image": len(about) == 1 < size,
        }


@dataclass(frozen=True)
class CadQaTask:
    """summary: KIND or KIND/ANNOTATOR of the comparison that the model is given; a set without one is not asked about.

    rounds: asked of the model; one is drawn by the hash of the set's id and `seed`.
    """

    summary: str = "comparison"
    rounds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        source_of(self.summary)

    @property
    def kind(self) -> str:
        return "cad-qa"

    @property
    def needs_images(self) -> bool:
        return False

    @property
    def reads(self) -> tuple[str, ...]:
        """The kinds of annotations that are read."""
        return (source_of(self.summary)[0],)

    @cached_property
    def prompt_hash(self) -> str:
        return prompts_hash(["cad-qa"], self.summary, self.rounds, self.seed)

    def asked(self, each: ImageSet, images: tuple[bytes, ...], attempt: int) -> list[Asked]:
        """One question; [] where captions or the comparison are missing."""
        captions = labelled_captions(each)
        parent = latest(each.annotations, *source_of(self.summary))
        summary = annotation_text(parent) if parent is not None else ""
        if captions is None or not summary:
            return []
        prompt = load_prompt("cad-qa")
        text = prompt.fill(
            "ask",
            images=f"{number_word(each.size)} images" if each.size > 1 else "one image",
            quotes=quoted_blocks([*captions, ("Summary", summary)]),
            rounds=number_word(self.rounds),
            names=image_names(each.size),
            form=prompt.sections["strict form" if attempt else "form"],
        )
        return [Asked("", repeated((Turn("user", (text,)),), (), attempt, NEW_TOKENS), parent)]

    def parse(self, each: ImageSet, asked: Asked, text: str, cut: bool = False) -> Answer | Unparsed:
        """content: the drawn round's question, answer, images and `one_image`; `rounds`: all of them."""
        rounds = parse_rounds(text, cut)
        if isinstance(rounds, Unparsed):
            return rounds
        chosen = rounds[drawn(len(rounds), "round", self.seed, each.set_id)]
        question = Turn("user", (*image_places(range(each.size)), "\n" + chosen.question))
        content = {**chosen.to_json(each.size), "rounds": [one.to_json(each.size) for one in rounds]}
        return Answer((question, Turn("assistant", (chosen.answer,))), content)


def parse_rounds(text: str, cut: bool = False) -> list[Round] | Unparsed:
    """The rounds with a question and an answer that speak of images, not of captions or a summary.

    cut: the reply ended at the limit of tokens; a last answer without a full stop is left out then.
    """
    rounds: list[Round] = []
    part = ""
    said = without_thinking(text)[:_MOST_CHARACTERS]
    for line in said.splitlines():
        line = " ".join(line.replace("*", "").replace("`", "").split()).lstrip("#->• ")
        found = _LABEL.match(line)
        if found:
            part = str(found.lastgroup)
            line = line[found.end() :]
            if part == "question":
                rounds.append(Round())
        if not line:
            part = part if found else ""  # an empty line ends an answer
        elif rounds and len(rounds[-1].question) + len(rounds[-1].answer) > _LONGEST_ROUND:
            continue
        elif rounds and part == "images":
            rounds[-1].images = tuple(sorted({int(number) - 1 for number in re.findall(r"[1-9]", line)}))
        elif rounds and part == "question":
            rounds[-1].question = f"{rounds[-1].question} {line}".strip()
        elif rounds and part == "answer":
            rounds[-1].answer = f"{rounds[-1].answer} {line}".strip()
    if cut and rounds and not rounds[-1].answer.endswith(_CLOSING):
        rounds.pop()
    whole = [one for one in rounds if one.question and one.answer]
    kept = [one for one in whole if not _LEAKS.search(one.question + " " + one.answer)]
    if kept:
        return kept
    why = "every round speaks of captions or a summary" if whole else "no round with a question and an answer"
    return refusal(said) or Unparsed(why)
