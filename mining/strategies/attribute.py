"""`attribute`: one named axis differs and all else that the captions say agrees (the Subtle-Diff case).

"A brown dog on a beach" and "a white dog on a beach" differ in the color of the dog. This is an equi-join: captions
with the same key, a hash of all their facts but one (`mining.strategies.captions.fact_keys`), are compared, and those
whose values of that one fact exclude each other are proposed, equally many for each axis. A caption that does not
state the axis has no such key, so it is never part of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from index.files import exists, join, local_path
from index.hashing import hash_rows
from mining.strategies.bands import OVERSAMPLED, best_per_level, rank_in_groups
from mining.strategies.captions.fact_keys import FactsItem, open_facts, write_facts, write_table
from mining.strategies.captions.noun_sets import row_slices
from mining.strategies.captions.slots import SLOT_BITS, SlotRange, first_of_each_caption, pack_slots
from mining.strategies.context import Candidates, MapItems, MiningContext, candidates_table
from mining.strategies.minable import minable_rows
from mining.text.axes import AXES, excludes

__all__ = ["attribute"]

Ints = npt.NDArray[np.int64]

# Captions that each caption of a key is compared with: the next ones in a seeded order that alternates values.
PARTNERS = 8
_PAIRS = pa.schema(
    [("one", pa.int64()), ("other", pa.int64()), ("axis", pa.int64()), ("agree", pa.int64()), ("owner", pa.string()),
     ("value", pa.string()), ("other_value", pa.string()), ("said", pa.string())]
)  # fmt: skip


@dataclass(frozen=True)
class PairItem:
    """The slots that one task pairs. items: number of files of facts. most: pairs to keep of each axis."""

    number: int
    slots: SlotRange
    items: int
    most: int


def attribute(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs that differ in one axis, which `axis` names; level 1."""
    axes = _axes(ctx.config.axes)
    count = minable_rows(ctx, ctx.open_store()).count
    facts = [FactsItem(rows, axes) for rows in row_slices(count)]
    entries = map_items(write_facts, facts, "attribute: facts")
    sizes = np.zeros(1 << SLOT_BITS, np.int64)
    for item in facts:
        sizes += np.diff(open_facts(ctx, item.rows.number)[0])
    most = max(64, 2 * OVERSAMPLED * ctx.wanted // len(axes))
    ranges = pack_slots(sizes)
    tasks = [PairItem(number, slots, len(facts), most) for number, slots in enumerate(ranges)]
    compared = map_items(pair_task, tasks, "attribute: pairs")
    tables = [_PAIRS.empty_table(), *(_read(_task_file(ctx, task)) for task in tasks)]
    order = [(name, "ascending") for name in ("one", "other", "axis", "owner", "value")]
    pairs = pa.concat_tables(tables).sort_by(order)
    found = _plain(pairs)
    first = np.r_[True, (found[1:, :2] != found[:-1, :2]).any(axis=1)] if len(found) else np.empty(0, np.bool_)
    pairs, found = pairs.filter(pa.array(first)), found[first]
    # Prefer pairs that agree in many facts: "all else agrees" says more of long captions.
    weights = pairs["agree"].to_numpy().astype(np.float64) ** 2
    share = max(1, -(-OVERSAMPLED * ctx.wanted // max(len(np.unique(found[:, 2])), 1)))
    kept = best_per_level(found, share, ctx.config.seed, weights)
    pairs = pairs.take(pa.array(kept))
    table = candidates_table(
        found[kept, :2],
        level=1,
        reasons=[_reasons(pairs)],
        axis=pa.array(np.array(AXES, object)[found[kept, 2]], pa.string()),
    )
    dropped = {"more than needed": len(found) - len(kept), "the same two images again": int(len(first) - first.sum())}
    counts = [f"{AXES[axis]} {int(size):,}" for axis, size in enumerate(np.bincount(found[:, 2])) if size]
    notes = (f"pairs found by axis: {', '.join(counts) or 'none'}",)
    return Candidates(table, sum(compared), dropped, notes, {"stated_slots": float(sum(entries))})


def pair_task(item: PairItem, ctx: MiningContext) -> int:
    """Pair the captions of each key that differ in its slot. Writes a table; returns the number of comparisons."""
    target = _task_file(ctx, item)
    if exists(target):
        return int(_read(target).schema.metadata[b"compared"])
    entries = _load(item, ctx)
    keys = entries["key"].to_numpy()
    order = np.argsort(hash_rows(entries["row"].to_numpy()[:, None], ctx.config.seed), kind="stable")
    first = first_of_each_caption(keys[order], entries["caption"].to_numpy()[order])
    entries = entries.take(pa.array(order[first]))
    value = entries["value"].combine_chunks().dictionary_encode()
    codes, names = value.indices.to_numpy().astype(np.int64), value.dictionary.to_pylist()
    group = [name.partition("|")[0] for name in names]
    # The values of each key alternate, so that a caption's next ones have other values.
    rows, keys = entries["row"].to_numpy(), entries["key"].to_numpy()
    by_value = np.lexsort((hash_rows(rows[:, None], ctx.config.seed), codes, keys))
    turn = np.empty(len(keys), np.int64)
    turn[by_value] = rank_in_groups(_runs(keys[by_value], codes[by_value]))
    order = np.lexsort((codes, turn, keys))
    keys, codes, rows = keys[order], codes[order], rows[order]
    axis = entries["axis"].to_numpy()[order].astype(np.int64)
    one, other = _neighbours(keys)
    differ = (codes[one] != codes[other]) & (rows[one] != rows[other])
    one, other = one[differ], other[differ]
    kinds, which = np.unique(np.stack([axis[one], codes[one], codes[other]], axis=1), axis=0, return_inverse=True)
    apart = np.array([excludes(AXES[each], group[a], group[b]) for each, a, b in kinds.tolist()], np.bool_)
    kept = apart[which.reshape(-1)] if len(kinds) else np.empty(0, np.bool_)
    one, other = one[kept], other[kept]
    swapped = rows[one] > rows[other]
    one, other = np.where(swapped, other, one), np.where(swapped, one, other)
    pairs = np.stack([rows[one], rows[other], axis[one]], axis=1)
    agree = entries["agree"].to_numpy()[order].astype(np.int64)
    best = best_per_level(pairs, item.most, ctx.config.seed, agree[one].astype(np.float64) ** 2)
    one, other = order[one[best]], order[other[best]]
    table = pa.table(
        [
            pa.array(pairs[best, 0]),
            pa.array(pairs[best, 1]),
            pa.array(pairs[best, 2]),
            entries["agree"].take(pa.array(one)).cast(pa.int64()),
            entries["owner"].take(pa.array(one)),
            entries["value"].take(pa.array(one)),
            entries["value"].take(pa.array(other)),
            entries["said"].take(pa.array(one)),
        ],
        schema=_PAIRS.with_metadata({"compared": str(len(differ))}),
    )
    write_table(target, table)
    return len(differ)


def _load(item: PairItem, ctx: MiningContext) -> pa.Table:
    """The entries of the task's slots, with the row, text hash, number of facts and objects of their captions."""
    pieces = []
    for number in range(item.items):
        begins, captions, entries = open_facts(ctx, number)
        begin, end = int(begins[item.slots.first]), int(begins[item.slots.last])
        if end == begin and number:
            continue
        some = entries.slice(begin, end - begin)
        texts = captions.take(some["caption"])
        some = some.drop_columns(["caption"])
        for name in ("row", "caption", "agree", "said"):
            some = some.append_column(name, texts[name])
        if item.slots.groups > 1:
            some = some.filter(pa.array(item.slots.of_group(some["row"].to_numpy(), ctx.config.seed)))
        pieces.append(some)
    return pa.concat_tables(pieces)


def _neighbours(keys: npt.NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """(one, other): each entry with each of the next `PARTNERS` entries of its key."""
    ones, others = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for step in range(1, PARTNERS + 1):
        one = np.flatnonzero(keys[step:] == keys[:-step]) if step < len(keys) else np.empty(0, np.int64)
        ones.append(one)
        others.append(one + step)
    return np.concatenate(ones), np.concatenate(others)


def _runs(keys: npt.NDArray[np.uint64], codes: Ints) -> Ints:
    """int64 [n]: the number of each entry's run of equal (key, code)."""
    new = (keys[1:] != keys[:-1]) | (codes[1:] != codes[:-1])
    runs: Ints = np.r_[0, np.cumsum(new)].astype(np.int64) if len(keys) else np.empty(0, np.int64)
    return runs


def _axes(asked: tuple[str, ...]) -> tuple[str, ...]:
    for axis in asked:
        if axis not in AXES:
            raise BadInput(f"unknown axis {axis!r}: choose from {', '.join(AXES)}")
    return tuple(dict.fromkeys(asked)) or AXES


def _reasons(pairs: pa.Table) -> pa.Array:
    rows = pairs.select(["axis", "owner", "value", "other_value", "said"]).to_pydict()
    return pa.array(
        [
            f"{AXES[axis]}{_of(owner)}: {_said(one)} / {_said(other)}; all else agrees: "
            + (said.rpartition(", ")[0] if AXES[axis] == "place" else said)  # the place is last
            for axis, owner, one, other, said in zip(*rows.values(), strict=True)
        ],
        pa.string(),
    )


def _said(value: str) -> str:
    return value.partition("|")[2]


def _of(owner: str) -> str:
    """For the owner "dog - ball" the phrase " of the dog and the ball"; "" without an owner."""
    return " of " + " and ".join(f"the {each}" for each in owner.split(" - ")) if owner else ""


def _plain(pairs: pa.Table) -> Ints:
    plain: Ints = np.stack([pairs[name].to_numpy() for name in ("one", "other", "axis")], axis=1)
    return plain


def _read(path: str) -> pa.Table:
    return pa.ipc.open_file(str(local_path(path))).read_all()


def _task_file(ctx: MiningContext, item: PairItem) -> str:
    return join(ctx.folder, "pairs", f"pairs_{item.number:05d}.arrow")
