"""The conditions of `ImageSets.filter`, checked column by column over whole part files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput
from mining.sets.layouts import Layout
from mining.sets.same_image import MEMBER_NAME, own_names

__all__ = ["Conditions", "checked_bound", "checked_names", "checked_numbers", "matching"]

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Conditions:
    """The conditions of one call of `ImageSets.filter`; one that is None or empty is not checked.

    values: column -> the value, or several of which a set must have one. least, most: column -> inclusive bound.
    nouns: all must be among the shared nouns. numbers: a set must be one of these. decisions: the decision on sets by
    `ImageSet.refs`, of which those to reject are skipped; `*/12` is row 12 of any store without a decision of its own.
    """

    values: Mapping[str, Any]
    least: Mapping[str, float | None]
    most: Mapping[str, float | None]
    nouns: tuple[str, ...] = ()
    numbers: Numbers | None = None
    decisions: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def columns(self) -> set[str]:
        """The columns that have to be read."""
        named = {name for bounds in (self.values, self.least, self.most) for name in bounds if bounds[name] is not None}
        named |= {"shared_nouns"} if self.nouns else set()
        return named | ({"set_id", "size"} if self.decisions else set())


def checked_names(field: str, value: object) -> tuple[str, ...] | None:
    """The texts of a condition, one or several; None for None. Raises BadInput for anything else."""
    if value is None or isinstance(value, str):
        return None if value is None else (value,)
    names = tuple(value) if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes) else (value,)
    for name in names:
        if not isinstance(name, str):
            raise BadInput(f"filter: {field} is a text or a list of texts, not {value!r:.100}")
    return names


def checked_numbers(field: str, value: object) -> tuple[int, ...] | None:
    """The whole numbers of a condition, one or several; None for None. Raises BadInput for anything else."""
    if value is None:
        return None
    listed = list(value) if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes | str) else [value]
    numbers = [int(each) for each in listed if isinstance(each, Integral) and not isinstance(each, bool)]
    if len(numbers) < len(listed) or any(not -(1 << 31) <= number < 1 << 31 for number in numbers):
        raise BadInput(f"filter: {field} is a whole number or a list of them, not {value!r:.100}")
    return tuple(numbers)


def checked_bound(name: str, value: object) -> float | None:
    """A bound such as `min_level`; None for None. Raises BadInput for NaN and anything but a number."""
    if value is None:
        return None
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if math.isnan(number):
        raise BadInput(f"filter: {name} is a number, not {value!r:.100}")
    if not name.endswith("level"):
        return number
    if not -(1 << 31) <= number < 1 << 31 or not number.is_integer():
        raise BadInput(f"filter: {name} is a whole number, as levels are, not {value!r:.100}")
    return int(number)


def matching(layout: Layout, among: Numbers, conditions: tuple[Conditions, ...]) -> Numbers:
    """int64 [n]: those of the set numbers `among` that meet all conditions, in their order."""
    columns = sorted(set().union(*(each.columns for each in conditions)))
    good = np.ones(layout.sets, np.bool_)
    for each in conditions:
        if each.numbers is not None:
            chosen = np.zeros(layout.sets, np.bool_)
            chosen[each.numbers] = True
            good &= chosen
    if not columns:
        return among[good[among]]
    for part, (first, last) in enumerate(zip(layout.first_sets[:-1], layout.first_sets[1:], strict=True)):
        table = layout.set_columns(part, columns)
        for each in conditions:
            good[first:last] &= _meets(table, each)
            if each.decisions:
                members = layout.member_columns(part, MEMBER_NAME)
                good[first:last] &= ~_rejected(members, table, each.decisions)
    return among[good[among]]


def _meets(table: pa.Table, conditions: Conditions) -> Mask:
    good = np.ones(table.num_rows, np.bool_)
    for name, value in conditions.values.items():
        if value is not None:
            values = [value] if isinstance(value, str | int) else list(value)
            good &= _mask(pc.is_in(table[name], pa.array(values, table.schema.field(name).type)))
    for bounds, compare in ((conditions.least, pc.greater_equal), (conditions.most, pc.less_equal)):
        for name, bound in bounds.items():
            if bound is not None:
                good &= _mask(compare(table[name], pa.scalar(bound, table.schema.field(name).type)))
    for noun in conditions.nouns:
        lists = table["shared_nouns"].combine_chunks()
        good[np.setdiff1d(np.arange(len(good)), _with_noun(lists, noun), assume_unique=True)] = False
    return good


def _mask(found: pa.Array | pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(found, False)).astype(np.bool_)


def _with_noun(lists: pa.ListArray, noun: str) -> Numbers:
    found = _mask(pc.equal(lists.flatten(), noun))
    parents: Numbers = np.unique(np.asarray(pc.list_parent_indices(lists))[found])
    return parents


def _rejected(members: pa.Table, sets: pa.Table, decisions: Mapping[tuple[str, ...], str]) -> Mask:
    """bool [n]: which sets (set_id and size) are rejected. members: MEMBER_NAME of all their members, in order.

    Arrow finds the sets with a member of any rejected set; only these are compared.
    """
    sizes = sets["size"].to_numpy()
    rejected = [refs for refs, decision in decisions.items() if decision == "reject"]
    wanted = pa.array(sorted({ref.partition("/")[2] for refs in rejected for ref in refs}), pa.string())
    own = own_names(members)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    without_members = (sizes == 0) & _mask(pc.is_in(sets["set_id"], wanted))
    suspects = np.union1d(owners[_mask(pc.is_in(own, wanted))], np.flatnonzero(without_members))
    mask = np.zeros(len(sizes), np.bool_)
    ends = np.cumsum(sizes)
    for suspect in suspects.tolist():
        first, count = int(ends[suspect] - sizes[suspect]), int(sizes[suspect])
        sources, rows = (members[name].slice(first, count).to_pylist() for name in ("source", "row_id"))
        names = own.slice(first, count).to_pylist()
        refs = tuple(sorted(f"{source}/{name}" for source, name in zip(sources, names, strict=True)))
        any_store = tuple(sorted(f"*/{row}" for row in rows)) if None not in rows else ()
        own_decision = decisions.get(refs or (f"set/{sets['set_id'][suspect].as_py()}",))
        mask[suspect] = (own_decision or decisions.get(any_store)) == "reject"
    return mask
