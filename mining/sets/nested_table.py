"""Image sets as one table with a row a set, the members nested: for data frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mining.sets.layouts import MEMBERS_SCHEMA, SETS_SCHEMA, Layout

__all__ = ["NESTED_SCHEMA", "nested_table"]

_MEMBER = [field for field in MEMBERS_SCHEMA if field.name != "set_id"]
# SETS_SCHEMA, and the members of each set in their order.
NESTED_SCHEMA = pa.schema([*SETS_SCHEMA, pa.field("members", pa.list_(pa.struct(_MEMBER)))])


def nested_table(layout: Layout, numbers: npt.NDArray[np.int64], columns: Sequence[str] | None = None) -> pa.Table:
    """The sets of these numbers within the folder, in this order, with `columns` of NESTED_SCHEMA (all by default)."""
    names = NESTED_SCHEMA.names if columns is None else list(columns)
    groups = layout.groups_of(numbers)
    runs = np.split(np.arange(len(numbers)), np.flatnonzero(np.diff(groups)) + 1) if len(numbers) else []
    tables = [_of_group(layout, int(groups[run[0]]), numbers[run]).select(names) for run in runs]
    return pa.concat_tables([NESTED_SCHEMA.empty_table().select(names), *tables])


def _of_group(layout: Layout, number: int, sets: npt.NDArray[np.int64]) -> pa.Table:
    group, places = layout.group(number), sets - layout.first_of(number)
    sizes = np.diff(group.starts)[places]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    rows = np.repeat(group.starts[places] - offsets[:-1], sizes) + np.arange(offsets[-1])
    members = group.members.take(pa.array(rows)).select([field.name for field in _MEMBER]).combine_chunks()
    values = members.to_struct_array().combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # of no members
        values = pa.array([], pa.struct(_MEMBER))
    nested = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)
    return group.sets.take(pa.array(places)).append_column("members", nested).cast(NESTED_SCHEMA)
