"""The conditions of `ImageSets.filter`, checked column by column over whole part files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mining.sets.layouts import Layout

__all__ = ["Conditions", "matching"]

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Conditions:
    """The conditions of one call of `ImageSets.filter`; one that is None or empty is not checked.

    values: column -> the value, or several of which a set must have one. least, most: column -> inclusive bound.
    nouns: all must be among the shared nouns. rejected: sorted row ids of the sets to skip.
    """

    values: Mapping[str, Any]
    least: Mapping[str, float | None]
    most: Mapping[str, float | None]
    nouns: tuple[str, ...] = ()
    rejected: frozenset[tuple[int, ...]] = frozenset()

    @property
    def columns(self) -> set[str]:
        """The columns that have to be read."""
        named = {name for bounds in (self.values, self.least, self.most) for name in bounds if bounds[name] is not None}
        return named | ({"shared_nouns"} if self.nouns else set()) | ({"set_id"} if self.rejected else set())


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
    if conditions.rejected:
        good &= ~_rejected(table["set_id"], conditions.rejected)
    return good


def _mask(found: pa.Array | pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(found, False)).astype(np.bool_)


def _with_noun(lists: pa.ListArray, noun: str) -> Numbers:
    found = _mask(pc.equal(lists.flatten(), noun))
    parents: Numbers = np.unique(np.asarray(pc.list_parent_indices(lists))[found])
    return parents


def _rejected(set_ids: pa.ChunkedArray, rejected: frozenset[tuple[int, ...]]) -> Mask:
    """bool [n]: which sets are rejected. Arrow finds those with a row of any rejected set; only these are compared."""
    words = pc.split_pattern(set_ids, "_").combine_chunks()
    rows = pa.array(sorted({str(row) for rows in rejected for row in rows}))
    suspects = np.unique(np.asarray(pc.list_parent_indices(words))[_mask(pc.is_in(words.flatten(), rows))])
    mask = np.zeros(len(set_ids), np.bool_)
    for suspect in suspects:
        mask[suspect] = tuple(sorted(int(word) for word in words[int(suspect)].as_py())) in rejected
    return mask
