"""Which sets meet conditions, column by column over whole parts. Knows the layout, and nothing of what sets are for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mining.sets.layouts import Layout

__all__ = ["Wanted", "matching"]

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Wanted:
    """Conditions of one call of `ImageSets.filter`; None and empty ones are none.

    values: column -> a value or several, of which one must be there. least, most: column -> bound, itself allowed.
    nouns: all must be shared. rejected: sorted rows of sets to leave out.
    """

    values: Mapping[str, Any]
    least: Mapping[str, float | None]
    most: Mapping[str, float | None]
    nouns: tuple[str, ...] = ()
    rejected: frozenset[tuple[int, ...]] = frozenset()

    @property
    def columns(self) -> set[str]:
        """What has to be read."""
        named = {name for bounds in (self.values, self.least, self.most) for name in bounds if bounds[name] is not None}
        return named | ({"shared_nouns"} if self.nouns else set()) | ({"set_id"} if self.rejected else set())


def matching(layout: Layout, among: Numbers, wanted: tuple[Wanted, ...]) -> Numbers:
    """Those of the set numbers `among` that meet all of `wanted`, in their order."""
    columns = sorted(set().union(*(each.columns for each in wanted)))
    if not columns:
        return among
    good = np.ones(layout.sets, np.bool_)
    for part, (first, last) in enumerate(zip(layout.first_sets[:-1], layout.first_sets[1:], strict=True)):
        table = layout.set_columns(part, columns)
        for each in wanted:
            good[first:last] &= _meets(table, each)
    return among[good[among]]


def _meets(table: pa.Table, wanted: Wanted) -> Mask:
    good = np.ones(table.num_rows, np.bool_)
    for name, value in wanted.values.items():
        if value is not None:
            values = [value] if isinstance(value, str | int) else list(value)
            good &= _mask(pc.is_in(table[name], pa.array(values, table.schema.field(name).type)))
    for bounds, compare in ((wanted.least, pc.greater_equal), (wanted.most, pc.less_equal)):
        for name, bound in bounds.items():
            if bound is not None:
                good &= _mask(compare(table[name], pa.scalar(bound, table.schema.field(name).type)))
    for noun in wanted.nouns:
        lists = table["shared_nouns"].combine_chunks()
        good[np.setdiff1d(np.arange(len(good)), _with_noun(lists, noun), assume_unique=True)] = False
    if wanted.rejected:
        good &= ~_rejected(table["set_id"], wanted.rejected)
    return good


def _mask(found: pa.Array | pa.ChunkedArray) -> Mask:
    return np.asarray(pc.fill_null(found, False)).astype(np.bool_)


def _with_noun(lists: pa.ListArray, noun: str) -> Numbers:
    found = _mask(pc.equal(lists.flatten(), noun))
    parents: Numbers = np.unique(np.asarray(pc.list_parent_indices(lists))[found])
    return parents


def _rejected(set_ids: pa.ChunkedArray, rejected: frozenset[tuple[int, ...]]) -> Mask:
    """Arrow finds the few sets with a row that some rejected set has; only those are looked at one by one."""
    words = pc.split_pattern(set_ids, "_").combine_chunks()
    rows = pa.array(sorted({str(row) for rows in rejected for row in rows}))
    suspects = np.unique(np.asarray(pc.list_parent_indices(words))[_mask(pc.is_in(words.flatten(), rows))])
    mask = np.zeros(len(set_ids), np.bool_)
    for suspect in suspects:
        mask[suspect] = tuple(sorted(int(word) for word in words[int(suspect)].as_py())) in rejected
    return mask
