"""Variants of LLaVA's training data: where the images of the first question stand, and its wording in stage 1.

LLaVA (section 4.2) puts the image before or behind its first question at random; stage 1 asks for a brief description
in a wording drawn at random. The draws depend on the seed and the sample's id alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from customize.lmm.data.sample import ImageFile, LmmSample
from customize.lmm.data.skipped import SkippedSample
from customize.lmm.data.source import Numbers, Source
from customize.lmm.data.source_spec import IMAGE_ORDERS
from index.errors import BadInput
from index.files import hash_json
from mining.sets.annotation import Part, Turn

__all__ = ["BRIEF_QUESTIONS", "Variants", "VariedSource"]

# Our wordings of a request for a brief description.
BRIEF_QUESTIONS = (
    "Describe the image briefly.",
    "What does the image show, in short?",
    "Give a short description of the image.",
    "Sum up the image in one sentence.",
    "Say in a few words what can be seen.",
    "Write a concise caption for the image.",
    "What is in this picture? Answer briefly.",
    "Provide a brief account of what is shown.",
    "State the main content of the image.",
    "In one line, what is this a picture of?",
)


@dataclass(frozen=True)
class Variants:
    """order: `kept`, or the images `first` or `last` in the first question, or either at `random`.

    brief: whether the words of the first question are replaced by one of BRIEF_QUESTIONS.
    """

    order: str = "kept"
    brief: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.order not in IMAGE_ORDERS:
            raise BadInput(f"order {self.order!r:.50}: choose {', '.join(IMAGE_ORDERS)}")

    def applied(self, sample: LmmSample) -> LmmSample:
        """The sample with its first question varied; a sample without images, or a question in several pieces that
        stand between images ("Image 1: <image>"), keeps the order.
        """
        first = next((place for place, turn in enumerate(sample.turns) if turn.role == "user"), None)
        if first is None or not sample.turns[first].images:
            return sample
        parts = sample.turns[first].parts
        if self.brief:
            chosen = BRIEF_QUESTIONS[self._drawn("brief", sample, len(BRIEF_QUESTIONS))]
            parts = (*(part for part in parts if isinstance(part, int)), "\n" + chosen)
        order = self.order
        if order == "random":
            order = ("first", "last")[self._drawn("order", sample, 2)]
        turn = Turn("user", _ordered(parts, order))
        return replace(sample, turns=(*sample.turns[:first], turn, *sample.turns[first + 1 :]))

    def _drawn(self, what: str, sample: LmmSample, count: int) -> int:
        name = f"{what}\n{self.seed}\n{sample.sample_id}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % count


class VariedSource:
    """A source with variants applied to its samples."""

    def __init__(self, source: Source, variants: Variants) -> None:
        self._source, self._variants = source, variants
        self.name = source.name

    def __len__(self) -> int:
        return len(self._source)

    def digest(self) -> str:
        varied = self._variants
        return hash_json([self._source.digest(), varied.order, varied.brief, varied.seed, list(BRIEF_QUESTIONS)])

    def read(self, numbers: Numbers) -> Iterator[LmmSample | SkippedSample]:
        for each in self._source.read(numbers):
            yield each if isinstance(each, SkippedSample) else self._variants.applied(each)

    def image(self, key: str, place: str) -> ImageFile:
        return self._source.image(key, place)


def _ordered(parts: Sequence[Part], order: str) -> tuple[Part, ...]:
    images = [part for part in parts if isinstance(part, int)]
    texts = [part for part in parts if isinstance(part, str) and part.strip()]
    if order == "kept" or len(texts) != 1:
        return tuple(parts)
    text = texts[0].strip()
    return (*images, "\n" + text) if order == "first" else (text + "\n", *images)
