"""The shuffle of a join on disk: keys fall into slots, and ranges of slots are packed into tasks of bounded size.

The slot of a 64-bit key is its upper bits. Each item writes its entries sorted by slot, and a task reads a range of
slots from the file of every item. The ranges depend on the counts of entries only, not on the number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.hashing import hash_rows
from mining.strategies.captions.caption_rows import LARGEST_SHARE

__all__ = ["SLOT_BITS", "SlotRange", "first_of_each_caption", "pack_slots", "sort_by_slot"]

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

# 65,536 slots, so that each has few keys: a task takes whole slots, and its size is bounded.
SLOT_BITS = 16
# Entries of a task; with the nouns of 262,144 captions they take 60 MB.
TASK_ENTRIES = 1 << 18
# Most tasks, as each reads a slice of every item's file.
MOST_TASKS = 4_096


@dataclass(frozen=True)
class SlotRange:
    """The slots first .. last - 1, or one slot of which only `group` of `groups` is taken, by seeded hash.

    lost: at most how many pairs of the slot are in different groups, so that they are not compared.
    """

    first: int
    last: int
    group: int = 0
    groups: int = 1
    lost: int = 0

    def of_group(self, entries: Ints, seed: int) -> npt.NDArray[np.bool_]:
        """bool [n]: which of the entries, rows or positions [n], are in this group."""
        mask: npt.NDArray[np.bool_] = hash_rows(np.asarray(entries)[:, None], seed + 2) % np.uint64(
            self.groups
        ) == np.uint64(self.group)
        return mask


def sort_by_slot(keys: Keys) -> tuple[Ints, npt.NDArray[np.int32]]:
    """(order, begins): keys[order] are sorted by slot; slot s is at begins[s] .. begins[s + 1] - 1."""
    slot = (keys >> np.uint64(64 - SLOT_BITS)).astype(np.int64)
    order = np.argsort(slot, kind="stable").astype(np.int64)
    return order, np.searchsorted(slot[order], np.arange((1 << SLOT_BITS) + 1)).astype(np.int32)


def pack_slots(sizes: Ints, captions: int | None = None) -> list[SlotRange]:
    """Pack slots with `sizes` entries into ranges of bounded size; a larger slot is cut into groups by seeded hash.

    captions: the number of captions; where given, a range has entries of at most about a tenth of them, so that a group
    drawn by hash stays below an eighth.
    """
    most = max(TASK_ENTRIES, int(sizes.sum()) // MOST_TASKS)
    if captions is not None:
        most = max(1, min(most, captions // (LARGEST_SHARE + 2)))
    ranges: list[SlotRange] = []
    first, held = 0, 0
    for slot in range(len(sizes) + 1):
        size = int(sizes[slot]) if slot < len(sizes) else most + 1
        if held + size > most:
            if held:
                ranges.append(SlotRange(first, slot))
            first, held = slot, 0
        if slot == len(sizes):
            break
        if size > most:
            groups = -(-size // most)
            lost = size * size // 2 * (groups - 1) // groups
            ranges += [SlotRange(slot, slot + 1, group, groups, lost) for group in range(groups)]
            first = slot + 1
        else:
            held += size
    return ranges


def first_of_each_caption(keys: Keys, captions: Keys) -> npt.NDArray[np.bool_]:
    """bool [n]: which entries are the first with their key and caption, so that a text on many images counts once."""
    order = np.lexsort((np.arange(len(keys)), captions, keys))
    repeated = (keys[order][1:] == keys[order][:-1]) & (captions[order][1:] == captions[order][:-1])
    first = np.ones(len(keys), np.bool_)
    first[order[1:][repeated]] = False
    return first
