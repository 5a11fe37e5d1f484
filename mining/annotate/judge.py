"""The judge: a language model rates a predicted answer against the reference, from 0 to 5. CaD-VI, section 4.

    request = judge_request("What colour is the bus?", "It is red.", "A red one.")
    parse_rating(reply.text)      # 5.0, or Unparsed

`JudgeTask` rates predictions that are annotations; `customize.lmm.evaluate` calls the two functions itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from mining.annotate.comparison_task import repeated
from mining.annotate.parse import refusal, without_thinking
from mining.annotate.prompts import load_prompt, prompts_hash, quoted_blocks
from mining.annotate.quotes import source_of
from mining.annotate.task import Answer, Asked, Unparsed
from mining.chat.chat import ChatRequest
from mining.sets.annotation import Annotation, Turn
from mining.sets.image_set import ImageSet

__all__ = ["JudgeTask", "judge_request", "parse_rating"]

# CaD-VI's limit of new tokens for a rating.
NEW_TOKENS = 20
_HIGHEST = 5.0
_WORDS = ("zero", "one", "two", "three", "four", "five")
_SCALE = re.compile(r"\b(?:scale (?:of|from) )?(?:from )?0 ?(?:to|-|–|—|through) ?5\b|\bimages? \d+", re.IGNORECASE)
_NUMBER = re.compile(
    rf"(?<![\w.,/-])(-?\d+(?:\.\d+)?|{'|'.join(_WORDS)})(?:\s*(?:/|out of|of)\s*(\d+))?(?![\w/%]|\.\d)", re.IGNORECASE
)
_READ = 400  # characters of a reply


def judge_request(question: str, reference: str, prediction: str, attempt: int = 0) -> ChatRequest:
    """The request that asks for a rating of `prediction`; attempt > 0 asks more strictly."""
    prompt = load_prompt("judge")
    quotes = quoted_blocks(
        [
            ("Question", question),
            ("Correct answer", reference),
            ("Answer to be rated", prediction if prediction.strip() else "(no answer)"),
        ]
    )
    text = prompt.fill("ask", quotes=quotes, form=prompt.sections["strict form" if attempt else "form"])
    return repeated((Turn("user", (text,)),), (), attempt, NEW_TOKENS)


def parse_rating(text: str) -> float | Unparsed:
    """The first number of a reply, 0 to 5, also as "4/5", "4 out of 5", "Rating: 4" or "four".

    Unparsed without one, for a number above 5, and for one of another scale ("8/10").
    """
    said = without_thinking(text)[:_READ]
    found = _NUMBER.search(_SCALE.sub(" ", said.replace("*", " ").replace("_", " ")))
    if found is None:
        return refusal(said) or Unparsed(f"no rating in {said.strip()[:60]!r}")
    word = found[1].lower()
    rating = float(_WORDS.index(word)) if word in _WORDS else float(word)
    if not 0 <= rating <= _HIGHEST or found[2] not in (None, "5"):
        return Unparsed(f"the rating {found[0].strip()!r:.20} is not from 0 to 5")
    return rating


@dataclass(frozen=True)
class JudgeTask:
    """of: KIND or KIND/ANNOTATOR of the predictions: annotations with a question and an answer among their turns.

    The reference answer is that of a prediction's parent, such as a `cad-qa`, or its content's "reference".
    """

    of: str = "prediction"

    def __post_init__(self) -> None:
        source_of(self.of)

    @property
    def kind(self) -> str:
        return "judge"

    @property
    def needs_images(self) -> bool:
        return False

    @property
    def reads(self) -> tuple[str, ...]:
        """The kinds of annotations that are read."""
        return (source_of(self.of)[0],)

    @cached_property
    def prompt_hash(self) -> str:
        return prompts_hash(["judge"], self.of)

    def asked(self, each: ImageSet, images: tuple[bytes, ...], attempt: int) -> list[Asked]:
        """A question for every prediction that has a question, an answer and a reference answer."""
        kind, annotator = source_of(self.of)
        known = {said.annotation_id: said for said in each.annotations}
        found = []
        for said in each.annotations:
            if said.kind != kind or annotator not in (None, said.annotator.name):
                continue
            parent = known.get(said.parent or "")
            reference = said.content.get("reference") or (_last(parent, "assistant") if parent is not None else "")
            question, prediction = _last(said, "user"), _last(said, "assistant")
            if reference and question:
                request = judge_request(question, str(reference), prediction, attempt)
                found.append(Asked(said.annotation_id, request, said))
        return found

    def parse(self, each: ImageSet, asked: Asked, text: str, cut: bool = False) -> Answer | Unparsed:
        """content: {"rating", "of": the prediction's id, "reply"}; no turns, since a rating is nothing to learn."""
        rating = parse_rating(text)
        if isinstance(rating, Unparsed):
            return rating
        return Answer((), {"rating": rating, "of": asked.item, "reply": text.strip()[:_READ]})


def _last(annotation: Annotation, role: str) -> str:
    """The last text of a role, without the lines in which a question shows its images."""
    texts = [turn for turn in annotation.turns if turn.role == role]
    if not texts:
        return ""
    words = [part for part in texts[-1].parts if isinstance(part, str)]
    if texts[-1].images:
        words = [part for part in words if not re.fullmatch(r"\s*(?:(?:Left |Right )?[Ii]mage ?\d*):?\s*", part)]
    return "".join(words).strip()
