"""The conditions of `ImageSets.filter`, checked column by column over whole part files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mining.sets.image_set import Member
from mining.sets.layouts import Layout

__all__ = ["MEMBER_NAME", "Conditions", "matching"]

# The columns that `Member.ref` needs.
MEMBER_NAME = ("source", "row_id", "key", "path", "url", "sha256")

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Conditions:
    """The conditions of one call of `ImageSets.filter`; one that is None or empty is not checked.

    values: column -> the value, or several of which a set must have one. least, most: column -> inclusive bound.
    nouns: all must be among the shared nouns. set_ids: a set must be one of these. rejected: the sorted members
    (`Member.ref`) of the sets to skip; `*/12` is row 12 of any store.
    """

    values: Mapping[str, Any]
    least: Mapping[str, float | None]
    most: Mapping[str, float | None]
    nouns: tuple[str, ...] = ()
    set_ids: pa.Array | None = None
    rejected: frozenset[tuple[str, ...]] = frozenset()

    @property
    def columns(self) -> set[str]:
        """The columns that have to be read."""
        named = {name for bounds in (self.values, self.least, self.most) for name in bounds if bounds[name] is not None}
        named |= {"shared_nouns"} if self.nouns else set()
        named |= {"set_id"} if self.set_ids is not None else set()
        return named | ({"size"} if self.rejected else set())


def matching(layout: Layout, among: Numbers, conditions: tuple[Conditions, ...]) -> Numbers:
    """int64 [n]: those of the set numbers `among` that meet all conditions, in their order."""
    columns = sorted(set().union(*(each.columns for each in conditions)))
    if not columns:
        return among
    good = np.ones(layout.sets, np.bool_)
    for part, (first, last) in enumerate(zip(layout.first_sets[:-1], layout.first_sets[1:], strict=True)):
        table = layout.set_columns(part, columns)
        for each in conditions:
            good[first:last] &= _meets(table, each)
            if each.rejected:
                members = layout.member_columns(part, MEMBER_NAME)
                good[first:last] &= ~_rejected(members, table["size"].to_numpy(), each.rejected)
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
    if conditions.set_ids is not None:
        good &= _mask(pc.is_in(table["set_id"], conditions.set_ids))
    return good


def _mask(found: pa.Array | pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(found, False)).astype(np.bool_)


def _with_noun(lists: pa.ListArray, noun: str) -> Numbers:
    found = _mask(pc.equal(lists.flatten(), noun))
    parents: Numbers = np.unique(np.asarray(pc.list_parent_indices(lists))[found])
    return parents


def _rejected(members: pa.Table, sizes: Numbers, rejected: frozenset[tuple[str, ...]]) -> Mask:
    """bool [n]: which sets are rejected. members: MEMBER_NAME of all sets, in order; sizes [n]: members of each.

    Arrow finds the sets with a member of any rejected set; only these are compared.
    """
    names = {ref.partition("/")[2] for refs in rejected for ref in refs}
    own = pc.coalesce(members["row_id"].cast(pa.string()), members["path"], members["url"], members["key"])
    suspects = np.unique(np.repeat(np.arange(len(sizes)), sizes)[_mask(pc.is_in(own, pa.array(sorted(names))))])
    mask = np.zeros(len(sizes), np.bool_)
    ends = np.cumsum(sizes)
    for suspect in suspects.tolist():
        rows = members.slice(int(ends[suspect] - sizes[suspect]), int(sizes[suspect])).to_pylist()
        found = [Member(0, **row) for row in rows]
        any_store = tuple(sorted(f"*/{member.row_id}" for member in found))
        mask[suspect] = tuple(sorted(member.ref for member in found)) in rejected or any_store in rejected
    return mask
