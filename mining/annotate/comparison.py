"""A comparison of images: commonalities and differences, each an item with its axis. CaD-VI, section 3.1.

Its text has the form of CaD-Inst's answers: "Commonalities:" and "Differences:", each with numbered items below it.
As an annotation of kind `comparison` its content is `to_json()`, and its turns are a question and this text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from index.errors import BadInput

__all__ = ["AXES", "LISTS", "Comparison", "Item"]

# CaD-VI's six axes.
AXES = ("object types", "attributes", "counts", "actions", "locations", "relative positions")

# The two lists of a comparison, in their order.
LISTS = ("commonalities", "differences")


@dataclass(frozen=True)
class Item:
    """One commonality or difference. axis: one of AXES, None where it is not known."""

    text: str
    axis: str | None = None

    def __post_init__(self) -> None:
        if self.axis is not None and self.axis not in AXES:
            raise BadInput(f"axis {self.axis!r:.50}: choose one of {', '.join(AXES)}")


@dataclass(frozen=True)
class Comparison:
    """What images have in common and what differs, in the order in which it is said. Either may be empty."""

    commonalities: tuple[Item, ...] = ()
    differences: tuple[Item, ...] = ()

    def text(self, lists: Sequence[str] = LISTS) -> str:
        """The lists with numbered items, both or one of them; an empty list is "None."."""
        parts = []
        for name in lists:
            items = self.commonalities if name == "commonalities" else self.differences
            lines = [f"{number}. {item.text}" for number, item in enumerate(items, 1)] or ["None."]
            parts.append("\n".join([f"{name.capitalize()}:", *lines]))
        return "\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """{"commonalities": [{"text", "axis"}], "differences": [{"text", "axis"}]}."""
        return {
            name: [{"text": item.text, "axis": item.axis} for item in items]
            for name, items in (("commonalities", self.commonalities), ("differences", self.differences))
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Comparison:
        """The comparison that `to_json` gave. Raises BadInput for anything else."""
        return cls(_items(value, "commonalities"), _items(value, "differences"))


def _items(value: Mapping[str, Any], name: str) -> tuple[Item, ...]:
    found = value.get(name)
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise BadInput(f"a comparison has a list {name!r}")
    try:
        return tuple(Item(str(each["text"]), each.get("axis")) for each in found)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"an item of {name} is {{text, axis}}") from error
