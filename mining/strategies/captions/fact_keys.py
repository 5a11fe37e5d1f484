"""Keys of captions on disk: two captions with the same key agree in all their facts but one.

`write_facts` writes the captions of a slice of rows. For each fact that states an axis it writes an entry whose key is
the hash of the axis, its owner and all other facts. A caption that does not state the axis has no such entry, so an
omission never counts as a difference.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.files import atomic_file, exists, join, local_path
from mining.strategies.captions.noun_sets import RowSlice, captions_of, save_array
from mining.strategies.captions.slots import sort_by_slot
from mining.strategies.context import MiningContext
from mining.strategies.minable import minable_rows
from mining.text.axes import AXES
from mining.text.caption_facts import Facts, facts_of

__all__ = ["FactsItem", "open_facts", "write_facts", "write_table"]

_MASK = (1 << 64) - 1
# Slots that are left out of the key together with another: the attributes of the place go with the place.
_TOGETHER = {"place": "place said"}
_NAMED = 8  # objects that a reason names
# Captions with more facts are skipped: no two would agree in so many, and 10,000 words would make thousands of keys.
MOST_FACTS = 64


@dataclass(frozen=True)
class FactsItem:
    """A slice of rows, and the axes that may differ."""

    rows: RowSlice
    axes: tuple[str, ...]


def write_facts(item: FactsItem, ctx: MiningContext) -> int:
    """Write two tables for a slice and where each slot's entries begin; returns the number of entries.

    captions: (row, caption: a hash of the text, agree: number of facts, said: its objects). entries, sorted by slot:
    (key, caption: its place in the other table, axis: its place in AXES, owner, value).
    """
    number = item.rows.number
    begins_file = _file(ctx, "begins", number, "npy")
    if exists(begins_file):
        return int(np.load(local_path(begins_file), mmap_mode="r")[-1])
    store = ctx.open_store()
    rows = minable_rows(ctx, store).rows(item.rows.start, item.rows.stop)
    table = store.metadata(rows, ["caption", "captions"])
    captions: list[tuple[int, int, int, str]] = []
    entries: list[tuple[int, int, int, str, str]] = []
    for row, texts in zip(rows.tolist(), captions_of(table, ctx.config.captions), strict=True):
        for text in texts:
            facts = facts_of(text)
            if 0 < len(facts) <= MOST_FACTS:
                entries += _entries(facts, len(captions), item.axes)
                captions.append((row, _hash(" ".join(text.casefold().split())), len(facts), _said(facts)))
    columns: list[Sequence[Any]] = list(zip(*captions, strict=True)) or [()] * 4
    write_table(
        _file(ctx, "captions", number, "arrow"),
        pa.table(
            {
                "row": pa.array(columns[0], pa.int64()),
                "caption": pa.array(columns[1], pa.uint64()),
                "agree": pa.array(columns[2], pa.int16()),
                "said": pa.array(columns[3], pa.string()),
            }
        ),
    )
    columns = list(zip(*entries, strict=True)) or [()] * 5
    keys = np.array(columns[0], np.uint64)
    order, begins = sort_by_slot(keys)
    write_table(
        _file(ctx, "entries", number, "arrow"),
        pa.table(
            {
                "key": pa.array(keys),
                "caption": pa.array(columns[1], pa.int32()),
                "axis": pa.array(columns[2], pa.int8()),
                "owner": pa.array(columns[3], pa.string()),
                "value": pa.array(columns[4], pa.string()),
            }
        ).take(pa.array(order)),
    )
    save_array(begins_file, begins)
    return len(entries)


def open_facts(ctx: MiningContext, number: int) -> tuple[npt.NDArray[np.int32], pa.Table, pa.Table]:
    """(begins of the slots, captions, entries) of an item, memory-mapped."""
    begins = np.load(local_path(_file(ctx, "begins", number, "npy")), mmap_mode="r")
    tables = [
        pa.ipc.open_file(pa.memory_map(str(local_path(_file(ctx, name, number, "arrow"))))).read_all()
        for name in ("captions", "entries")
    ]
    return begins, tables[0], tables[1]


def _entries(facts: Facts, caption: int, axes: tuple[str, ...]) -> list[tuple[int, int, int, str, str]]:
    hashes = {slot: _hash(f"{slot[0]}|{slot[1]}|{value.partition('|')[0]}") for slot, value in facts.items()}
    total = sum(hashes.values())
    found = []
    for slot, value in facts.items():
        axis, owner = slot
        if axis in axes:
            rest = total - hashes[slot] - hashes.get((_TOGETHER.get(axis, ""), owner), 0)
            found.append(((rest + _hash(f"but|{axis}|{owner}")) & _MASK, caption, AXES.index(axis), owner, value))
    return found


def _said(facts: Facts) -> str:
    objects = [owner for axis, owner in facts if axis == "object"]
    return ", ".join([*objects[:_NAMED], *([facts["place", ""].partition("|")[2]] if ("place", "") in facts else [])])


@functools.lru_cache(maxsize=1 << 20)
def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def write_table(path: str, table: pa.Table) -> None:
    """Write an Arrow file that can be memory-mapped, atomically."""
    with atomic_file(path) as partial, pa.OSFile(str(partial), "wb") as sink:  # noqa: SIM117
        with pa.ipc.new_file(sink, table.schema) as stream:
            stream.write_table(table)


def _file(ctx: MiningContext, name: str, number: int, ending: str) -> str:
    return join(ctx.folder, "facts", f"{name}_{number:04d}.{ending}")
