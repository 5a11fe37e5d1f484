"""How a user names a source of training samples: `PLACE[:WEIGHT][,OPTION=VALUE,...]`.

SourceSpec.parse("pairs:2,cad=differences+choice,split=train")
SourceSpec.parse("llava_v1_5_mix665k.json,images=/data/llava,count=20000")
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from index.errors import BadInput

__all__ = ["IMAGE_ORDERS", "OPTIONS", "SourceSpec"]

IMAGE_ORDERS = ("kept", "first", "last", "random")
# The options of a source, by what they mean; `clipmine tune --help` shows them.
OPTIONS = {
    "count": "samples of an epoch, instead of a weight",
    "name": "its name in logs and statistics",
    "images": "folder of the images of a file of records, or where the images of sets are now",
    "kind": "kind of the annotations of image sets, several with +",
    "annotator": "annotator of the annotations of image sets, several with +",
    "split": "split of the image sets, several with +",
    "strategy": "strategy of the image sets, several with +",
    "cad": "parts of CaD-VI's conversation about image sets: commonalities, differences, note, choice, hints, with +",
    "order": f"where images stand in the first question: {', '.join(IMAGE_ORDERS)}",
    "brief": "yes: the first question is a random one that asks for a brief description (LLaVA's stage 1)",
}
# An epoch is held in memory as numbers of samples; weights count only relative to one another.
_MOST_SAMPLES, _MOST_WEIGHT = 100_000_000, 1_000_000
_WEIGHT = re.compile(r"(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?")


@dataclass(frozen=True)
class SourceSpec:
    """place: a file or folder. weight, count: as `Part` has them. options: names of OPTIONS and their values."""

    place: str
    weight: float | None = None
    count: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> SourceSpec:
        """The spec that a user writes. Raises BadInput."""
        place, *written = text.split(",")
        options: dict[str, str] = {}
        for each in written:
            name, equals, value = (piece.strip() for piece in each.partition("="))
            if name not in OPTIONS:
                raise BadInput(f"source {text!r:.200}: unknown option {name!r:.80}; options: {', '.join(OPTIONS)}")
            if not equals or not value:
                raise BadInput(f"source {text!r:.200}: the option {name} has no value; write {name}=VALUE")
            if name in options:
                raise BadInput(f"source {text!r:.200}: {name} is given twice")
            options[name] = value
        before, colon, behind = place.rpartition(":")
        weight = None
        if colon and before and _WEIGHT.fullmatch(behind):
            place, weight = before, float(behind)
            if weight <= 0:
                raise BadInput(f"source {text!r:.200}: a weight is above 0; leave the source out instead")
            if weight > _MOST_WEIGHT:
                raise BadInput(f"source {text!r:.200}: a weight is at most {_MOST_WEIGHT:,}")
        if not place:
            raise BadInput(f"source {text!r:.200}: names no file or folder; write PLACE[:WEIGHT][,OPTION=VALUE]")
        count = _count(text, options.pop("count", None))
        if count is not None and weight is not None:
            raise BadInput(f"source {text!r:.200}: give a weight or a count")
        return cls(place, weight, count, options)


def _count(text: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 12 or not 0 < int(value) <= _MOST_SAMPLES:
        raise BadInput(
            f"source {text!r:.200}: count={value!r:.50} is not a number of samples from 1 to {_MOST_SAMPLES:,}"
        )
    return int(value)
