"""Slots and tasks: entries are sorted by their keys' upper bits, tasks are bounded, and no entry is lost or doubled."""

from __future__ import annotations

import numpy as np
import pytest

from mining.strategies.captions import slots
from mining.strategies.captions.slots import SLOT_BITS, SlotRange, first_of_each_caption, pack_slots, sort_by_slot

SLOTS = 1 << SLOT_BITS


def sizes_with(**sizes: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    found = np.zeros(SLOTS, np.int64)
    for name, size in sizes.items():
        found[int(name[1:])] = size
    return found


def test_entries_are_sorted_by_the_upper_bits_of_their_keys() -> None:
    keys = np.array([5 << 48 | 1, 2 << 48, 5 << 48, 7], np.uint64)
    order, begins = sort_by_slot(keys)
    assert order.tolist() == [3, 1, 0, 2]  # within a slot the order stays
    assert [int(begins[slot]) for slot in (0, 1, 2, 3, 5, 6, SLOTS)] == [0, 1, 1, 2, 2, 4, 4]


def test_small_slots_share_a_task_up_to_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "TASK_ENTRIES", 10)
    ranges = pack_slots(sizes_with(_3=4, _4=5, _90=6))
    assert [each.groups for each in ranges] == [1, 1]
    assert (ranges[0].first, ranges[0].last) == (0, 90)
    assert ranges[1].first == 90
    assert all(each.lost == 0 for each in ranges)


def test_a_larger_slot_is_cut_into_groups_that_share_out_its_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "TASK_ENTRIES", 10)
    ranges = [each for each in pack_slots(sizes_with(_3=4, _7=25)) if each.groups > 1]
    assert [(each.first, each.last, each.group, each.groups) for each in ranges] == [(7, 8, at, 3) for at in range(3)]
    assert ranges[0].lost == 25 * 25 // 2 * 2 // 3
    entries = np.arange(1_000)
    groups = np.stack([each.of_group(entries, 5) for each in ranges])
    assert (groups.sum(axis=0) == 1).all()
    assert groups.sum(axis=1).min() > 250


def test_no_task_has_entries_of_more_than_a_tenth_of_the_captions() -> None:
    sizes = np.full(SLOTS, 0)
    sizes[:100] = 3
    assert max(int(sizes[each.first : each.last].sum()) for each in pack_slots(sizes, captions=200)) <= 20


def test_every_slot_with_entries_is_in_a_task() -> None:
    sizes = np.random.default_rng(0).integers(0, 50, SLOTS)
    covered = np.zeros(SLOTS, np.int64)
    for each in pack_slots(sizes):
        covered[each.first : each.last] += 1
    assert (covered[sizes > 0] == 1).all()
    assert SlotRange(0, SLOTS).of_group(np.arange(9), 0).all()


def test_only_the_first_entry_of_a_caption_under_a_key_counts() -> None:
    keys, captions = np.array([1, 1, 2, 1], np.uint64), np.array([7, 7, 7, 8], np.uint64)
    assert first_of_each_caption(keys, captions).tolist() == [True, False, True, True]
