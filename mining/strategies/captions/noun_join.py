"""All pairs of captions that share at least c nouns: a set-similarity join in two maps over items on disk.

A set is the nouns of one caption, identified by its position in `NounSets`. `write_keys` writes the keys of each item's
sets (`mining.strategies.captions.noun_keys`), sorted by slot; the slot is the upper bits of a key. Ranges of slots are
then packed into tasks of bounded size. `join_task` compares the sets that have the same key, which are called a list.
The result is exact but for two limits, and the pairs that each costs are counted: a list longer than `LONGEST_LIST` is
cut into groups by seeded hash, and a task keeps `most_pairs` pairs of each level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.files import exists, join, local_path
from index.hashing import finalize64, hash_rows, mix64
from mining.strategies.captions.caption_rows import LARGEST_SHARE
from mining.strategies.captions.noun_keys import path_keys
from mining.strategies.captions.noun_sets import NounSets
from mining.strategies.captions.pair_pool import pool_pairs, sample_pairs
from mining.strategies.captions.shared_nouns import pad_sets, shared_mask, without_parts
from mining.strategies.captions.slots import SLOT_BITS, SlotRange, first_of_each_caption, pack_slots, sort_by_slot
from mining.strategies.context import MapItems, MiningContext
from mining.strategies.neighbors.work_arrays import save_array

__all__ = ["Join", "Joined", "join_nouns"]

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

# A list that is expected to be at most this long needs no further noun in its key: comparing all its pairs takes as
# long as writing and sorting some hundred more keys.
LIGHT_LIST = 256
# The longest list whose sets are all compared with each other: its 8 million pairs take half a second.
LONGEST_LIST = 4_096
# The number of pairs compared at a time; they take 100 MB.
PAIRS_AT_ONCE = 1 << 20
# The number of sets whose keys are computed at a time.
SETS_AT_ONCE = 8_192


@dataclass(frozen=True)
class Join:
    """What to join: captions of at least `least` nouns, all with all, or a random part of them, or in random groups.

    name: part of its file names. part: of the captions that are joined, above 0 and up to 1. groups: with g groups one
    pair in g is found, and every caption that is joined is in one of them. most_pairs: the most pairs kept, of each
    level or (without by_level) in all; they are chosen by seeded hash. levels: the levels to keep, None for all from
    `least`.
    """

    name: str
    least: int
    part: float
    groups: int
    most_pairs: int
    levels: tuple[int, ...] | None = None
    by_level: bool = True


@dataclass(frozen=True)
class KeysItem:
    """The item of the noun sets in `folder` whose sets one call of `write_keys` reads."""

    number: int
    folder: str
    join: Join


@dataclass(frozen=True)
class ListsItem:
    """The slots that one call of `join_task` joins."""

    number: int
    folder: str
    slots: SlotRange
    join: Join


@dataclass(frozen=True)
class TaskCounts:
    """Counts of a task. held: sets in memory. compared: pairs. found: pairs of the levels to keep. surplus: those of
    them beyond `most_pairs`. repeated: pairs that it found under several keys. lost: pairs that were not compared,
    since a long list was cut."""

    held: int
    compared: int
    found: int
    repeated: int
    surplus: int
    lost: int


@dataclass(frozen=True)
class Joined:
    """pairs: int64 [n, 3], positions a < b and the number of shared nouns, each pair once, ascending. largest_task is
    the largest `held` of a task; the other counts are sums over the tasks: compared = other + repeated + surplus +
    len(pairs), where `other` are pairs of other levels. lost also counts pairs of slots that were cut."""

    pairs: Ints
    compared: int
    other: int
    repeated: int
    surplus: int
    lost: int
    largest_task: int


def join_nouns(ctx: MiningContext, map_items: MapItems, sets: NounSets, wanted: Join) -> Joined:
    """Run the join. Its files are in `sets.folder`/join_NAME; those that exist already are not made again."""
    keys = [KeysItem(number, sets.folder, wanted) for number in range(sets.items)]
    map_items(write_keys, keys, f"overlap: keys, {wanted.least} nouns")
    tasks, lost = _pack(sets, keys, wanted)
    counts: list[TaskCounts] = map_items(join_task, tasks, f"overlap: join, {wanted.least} nouns")
    files = (np.load(local_path(_task_file(task))) for task in tasks)
    pool = pool_pairs(files, wanted.most_pairs, ctx.config.seed, by_level=wanted.by_level)
    compared, found = sum(count.compared for count in counts), sum(count.found for count in counts)
    repeated = sum(count.repeated for count in counts)
    return Joined(
        pool.pairs,
        compared,
        other=compared - found - repeated,
        repeated=repeated + pool.repeated,
        surplus=sum(count.surplus for count in counts) + pool.surplus,
        lost=lost + sum(count.lost for count in counts),
        largest_task=max((count.held for count in counts), default=0),
    )


def write_keys(item: KeysItem, ctx: MiningContext) -> int:
    """Write the keys of an item's sets, sorted by slot, the sets' positions, and where each slot begins."""
    last_file = _keys_file(item.folder, item.join, "slots", item.number)
    if exists(last_file):
        return item.number
    sets = NounSets(item.folder)
    offsets = np.asarray(sets.part("offsets", item.number)).astype(np.int64)
    captions = np.asarray(sets.part("captions", item.number)).astype(np.uint64)
    texts = hash_rows(captions[:, None], ctx.config.seed + item.join.least)  # images with one text stay together
    taken = np.diff(offsets) >= item.join.least
    if item.join.part < 1:
        taken &= mix64(texts) <= np.uint64(int(item.join.part * float(1 << 64)))
    places = np.flatnonzero(taken)
    frequency, joined = sets.noun_rows / max(sets.count, 1), max(1, int(sets.count * item.join.part / item.join.groups))
    found_keys, found_places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for start in range(0, len(places), SETS_AT_ONCE):
        some = places[start : start + SETS_AT_ONCE]
        own, ranks = sets.ranks(some + sets.starts[item.number])
        keys, owners = path_keys(own, ranks, frequency, item.join.least, joined, _light(sets))
        if item.join.groups > 1:  # captions of different groups have no key in common
            group = texts[some] % np.uint64(item.join.groups)
            keys = finalize64(keys ^ mix64(group)[owners])
        found_keys.append(keys)
        found_places.append(some[owners])
    keys, positions = np.concatenate(found_keys), np.concatenate(found_places) + sets.starts[item.number]
    order, begins = sort_by_slot(keys)
    save_array(_keys_file(item.folder, item.join, "keys", item.number), keys[order])
    save_array(_keys_file(item.folder, item.join, "sets", item.number), positions[order])
    save_array(last_file, begins)
    return item.number


def join_task(item: ListsItem, ctx: MiningContext) -> TaskCounts:
    """Compare the sets of each list and write the pairs int64 [n, 3]; returns the counts."""
    counts_file = _task_file(item, "counts")
    if exists(counts_file):
        return TaskCounts(*np.load(local_path(counts_file)).tolist())
    sets, least = NounSets(item.folder), item.join.least
    keys, positions = _read_lists(item, ctx, sets)
    unique, local = np.unique(positions, return_inverse=True)
    hashes = hash_rows(sets.take("rows", unique).astype(np.int64)[:, None], ctx.config.seed + 1)
    order = np.lexsort((hashes[local], keys))
    keys, local = keys[order], local[order]
    captions = sets.take("captions", unique).astype(np.uint64)
    first = first_of_each_caption(keys, captions[local])
    keys, local = keys[first], local[first]
    ends, lost = _list_ends(keys)
    bits = sets.take("bits", unique).astype(np.uint64)
    offsets, ranks = sets.ranks(unique)
    sizes = np.diff(offsets)
    padded, parts = pad_sets(offsets, ranks), sets.parts
    pieces, compared = [np.empty((0, 3), np.int64)], 0
    for one, other in _pairs(ends):
        a, b = local[one], local[other]
        compared += len(a)
        apart = np.bitwise_count(bits[a] ^ bits[b]).sum(axis=1, dtype=np.int64)
        # Sets that share c nouns differ in |x| + |y| - 2c nouns, and their signatures in at most as many bits.
        near = apart <= sizes[a] + sizes[b] - 2 * least
        a, b = a[near], b[near]
        mask = shared_mask(padded, a, b)
        # At least as many with the words of compounds; without them there may be fewer.
        enough = mask.sum(axis=1) >= least
        a, b = a[enough], b[enough]
        shared = without_parts(mask[enough], padded, a, parts).sum(axis=1, dtype=np.int64)
        enough = shared >= least if item.join.levels is None else np.isin(shared, item.join.levels)
        a, b, shared = a[enough], b[enough], shared[enough]
        pieces.append(np.stack([np.minimum(a, b), np.maximum(a, b), shared], axis=1))
    found = np.concatenate(pieces)
    pairs = np.unique(found, axis=0)
    pairs[:, :2] = unique[pairs[:, :2]]
    kept = sample_pairs(pairs, item.join.most_pairs, ctx.config.seed, by_level=item.join.by_level)
    save_array(_task_file(item), pairs[kept])
    repeated, surplus = len(found) - len(pairs), len(pairs) - len(kept)
    counts = TaskCounts(len(unique), compared, len(pairs), repeated, surplus, lost)
    save_array(counts_file, np.array(list(vars(counts).values()), np.int64))
    return counts


def _pack(sets: NounSets, keys: list[KeysItem], wanted: Join) -> tuple[list[ListsItem], int]:
    """Tasks of bounded size, and the most pairs that are not compared because large slots were cut."""
    sizes = np.zeros(1 << SLOT_BITS, np.int64)
    for item in keys:
        sizes += np.diff(np.load(local_path(_keys_file(sets.folder, wanted, "slots", item.number))))
    ranges = pack_slots(sizes, sets.count)
    tasks = [ListsItem(number, sets.folder, slots, wanted) for number, slots in enumerate(ranges)]
    return tasks, sum(slots.lost for slots in ranges if slots.group == 0)


def _read_lists(item: ListsItem, ctx: MiningContext, sets: NounSets) -> tuple[Keys, Ints]:
    keys, positions = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for number in range(sets.items):
        slots = np.load(local_path(_keys_file(item.folder, item.join, "slots", number)), mmap_mode="r")
        begin, end = int(slots[item.slots.first]), int(slots[item.slots.last])
        if end == begin:
            continue
        some_keys = np.load(local_path(_keys_file(item.folder, item.join, "keys", number)), mmap_mode="r")[begin:end]
        some = np.load(local_path(_keys_file(item.folder, item.join, "sets", number)), mmap_mode="r")[begin:end]
        if item.slots.groups > 1:
            own = item.slots.of_group(some, ctx.config.seed)
            some_keys, some = some_keys[own], some[own]
        keys.append(np.asarray(some_keys))
        positions.append(np.asarray(some))
    return np.concatenate(keys), np.concatenate(positions)


def _list_ends(keys: Keys) -> tuple[Ints, int]:
    """The end of each entry's list after long lists are cut, int64 [n], and the number of pairs that the cuts lose."""
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.empty(0, np.int64)
    lengths = np.diff(np.r_[starts, len(keys)])
    place = np.arange(len(keys)) - np.repeat(starts, lengths)
    ends = np.repeat(starts + lengths, lengths)
    cut = np.minimum(ends, np.arange(len(keys)) - place % LONGEST_LIST + LONGEST_LIST)
    compared = int((cut - np.arange(len(keys)) - 1).sum())
    return cut, int((lengths * (lengths - 1) // 2).sum()) - compared


def _pairs(ends: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield (one, other): each entry with all later ones of its list, about a million pairs at a time."""
    counts = ends - np.arange(len(ends)) - 1
    total = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = int(total[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(total, before + PAIRS_AT_ONCE, side="right")))
        some = counts[start:stop]
        if some.sum():
            one = np.repeat(np.arange(start, stop), some)
            first = np.cumsum(some) - some
            yield one, one + 1 + np.arange(len(one)) - np.repeat(first, some)
        start = stop


def _light(sets: NounSets) -> int:
    return max(2, min(LIGHT_LIST, sets.count // (2 * LARGEST_SHARE)))


def _keys_file(folder: str, wanted: Join, name: str, number: int) -> str:
    return join(folder, f"join_{wanted.name}", f"{name}_{number:04d}.npy")


def _task_file(item: ListsItem, name: str = "pairs") -> str:
    return join(item.folder, f"join_{item.join.name}", f"{name}_of_task_{item.number:05d}.npy")
