"""The one fact in which two images contradict each other, by what their captions or their metadata state.

A caption leaves most of a picture out, so a fact that only one of two captions states says nothing. Where two captions
of look-alike images say the same of one object except one value ("a white chair", "a gray chair"), the images differ in
that value.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mining.text.axes import AXES, excludes
from mining.text.degrees import degree

__all__ = ["Difference", "difference_of_captions", "difference_of_metadata"]

# (axis or name, owner) -> value, of `mining.text.caption_facts` or `mining.strategies.metadata_facts`
Facts = Mapping[tuple[str, str], str] | Mapping[tuple[str, str], str | float]

# Numbers closer than this are equal: metadata may be rounded.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Difference:
    """The only fact in which two images contradict each other.

    axis: its name, one of AXES for captions. owner: what it is said of; "" for the whole picture. one, other: the two
    values as they were said. degree: how the second is beside the first ("darker"), if that is a matter of degree.
    amount: second - first, for numbers. agree, unstated: facts that both state, and that only one states.
    """

    axis: str
    owner: str
    one: str
    other: str
    degree: str | None
    amount: float | None
    agree: int
    unstated: int


def difference_of_captions(one: Facts, other: Facts, axes: Collection[str] = AXES) -> Difference | None:
    """The only fact in which two captions contradict each other, if it is of their subject or of the whole picture.

    The subject is the first object that a caption names, and must be the same in both. None where the captions
    contradict each other in no fact, or in several, or in one that is not of `axes` or whose values may both be true.
    """
    subject = _subject(one)
    if subject is None or subject != _subject(other):
        return None
    slot, agree, unstated = _only_difference(one, other)
    if slot is None or slot[0] not in axes or not _is_of(slot[1], subject):
        return None
    (group, _, said), (other_group, _, other_said) = (str(facts[slot]).partition("|") for facts in (one, other))
    if not excludes(slot[0], group, other_group):
        return None
    said_degree = degree(slot[0], group, other_group)
    if slot[0] == "count" and group.isdigit() and other_group.isdigit():
        said_degree = degree("count", float(group), float(other_group))
    return Difference(*slot, said or group, other_said or other_group, said_degree, None, agree, unstated)


def difference_of_metadata(one: Facts, other: Facts, axes: Collection[str] = ()) -> Difference | None:
    """The only fact in which the metadata of two rows contradict each other; axes: () for all names.

    None also where they agree in fewer facts than only one of them states.
    """
    slot, agree, unstated = _only_difference(one, other)
    if slot is None or (axes and slot[0] not in axes) or agree <= unstated:
        return None
    value, other_value = one[slot], other[slot]
    amount = None
    if not isinstance(value, str) and not isinstance(other_value, str):
        amount = other_value - value
    said, other_said = (each if isinstance(each, str) else f"{each:g}" for each in (value, other_value))
    return Difference(*slot, said, other_said, degree(slot[0], value, other_value), amount, agree, unstated)


def _only_difference(one: Facts, other: Facts) -> tuple[tuple[str, str] | None, int, int]:
    """(the only slot with two values, or None; slots with equal values; slots that only one has)."""
    both = one.keys() & other.keys()
    apart = [slot for slot in both if not _equal(one[slot], other[slot])]
    if ("place", "") in apart and ("place said", "") in apart:  # attributes of the place go with it
        apart.remove(("place said", ""))
    only = apart[0] if len(apart) == 1 else None
    return only, len(both) - len(apart), len(one) + len(other) - 2 * len(both)


def _equal(one: str | float, other: str | float) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return str(one).partition("|")[0] == str(other).partition("|")[0]
    return math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _subject(facts: Facts) -> str | None:
    return next((owner for axis, owner in facts if axis == "object"), None)


def _is_of(owner: str, subject: str) -> bool:
    """Whether an owner is the subject, "dog (height)", "girl's clothes" or "dog - ball" of it, or the whole picture."""
    return owner in ("", "scene", subject) or owner.startswith((f"{subject} (", f"{subject}'s ", f"{subject} - "))
