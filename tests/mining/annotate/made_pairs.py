"""Image sets without files, for the tests of what is asked about them."""

from __future__ import annotations

from collections.abc import Sequence

from mining.annotate.comparison import Comparison, Item
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.image_set import ImageSet, Member

BUSES = ("A red bus on a street", "A blue bus in a park")
COMPARED = Comparison(
    (Item("Both images show a bus.", "object types"),),
    (
        Item("Image 1 shows a red bus, Image 2 a blue bus.", "attributes"),
        Item("Image 2 is set in a park.", "locations"),
    ),
)


def image_set(
    captions: Sequence[str | None] = BUSES, set_id: str = "pair", annotations: Sequence[Annotation] = ()
) -> ImageSet:
    """A set whose images have these captions."""
    members = tuple(Member(place, "photos", path=f"{place}.jpg", caption=each) for place, each in enumerate(captions))
    return ImageSet(set_id, "similar", members, annotations=tuple(annotations))


def compared(set_id: str = "pair", comparison: Comparison = COMPARED, annotator: str = "mixtral") -> Annotation:
    """An annotation of kind `comparison`."""
    return Annotation.make(set_id, "comparison", Annotator(annotator), (), comparison.to_json())


def note(text: str, set_id: str = "pair", annotator: str = "mimic-it") -> Annotation:
    """A difference note, as collections of them are imported."""
    turns = (Turn("user", (0, 1)), Turn("assistant", (text,)))
    return Annotation.make(set_id, "difference_note", Annotator(annotator), turns)
