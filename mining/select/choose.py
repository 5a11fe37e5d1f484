"""Which of the proposed sets are made: an order by seeded chance, even over strategies and levels, caps, quotas.

All of it is arithmetic over arrays: a million proposals take seconds. Knows arrays; knows no store, no file and no
strategy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from index.hashing import hash_rows
from mining.strategies.bands import rank_in_groups

__all__ = ["Proposals", "balanced_order", "choose", "first_of_each", "within_cap"]

RowIds = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Proposals:
    """Proposed sets as arrays: members int64 [n, m] (-1 past a set's size), strategy and level int [n]."""

    def __init__(self, members: RowIds, strategy: RowIds, level: RowIds, seed: int) -> None:
        self.members, self.strategy, self.level = members, strategy, level
        # A set is what its members are: in whatever order and direction, it is the same one.
        self.identity: RowIds = np.sort(members, axis=1)
        self.priority = hash_rows(self.identity, seed)

    def __len__(self) -> int:
        return len(self.members)


def balanced_order(sets: Proposals, places: RowIds, wanted: Sequence[int]) -> RowIds:
    """`places` in the order in which they are taken: any beginning is even over strategies (by quota) and levels.

    Within a strategy and level the order is that of the seeded hash of a set's members; arrival plays no part.
    """
    strategy, level = sets.strategy[places], sets.level[places]
    columns = sets.identity[places].T[::-1]  # the last resort of two equal hashes
    order = np.lexsort((*columns, sets.priority[places], level, strategy))
    cell = strategy[order] * (1 << 32) + level[order]
    turn = rank_in_groups(cell)
    # Each level's first, each level's second, ... within its strategy,
    order = order[np.lexsort((level[order], turn, strategy[order]))]
    # then strategies side by side, each as far along its own quota.
    along = rank_in_groups(strategy[order]) / np.maximum(np.asarray(wanted, np.float64), 1)[strategy[order]]
    ordered: RowIds = places[order[np.lexsort((strategy[order], along))]]
    return ordered


def first_of_each(identity: RowIds) -> Mask:
    """bool [n]: which sets (sorted members [n, m], in order) are not repeats of an earlier one."""
    order = np.lexsort((np.arange(len(identity)), *identity.T))
    same = (identity[order[1:]] == identity[order[:-1]]).all(axis=1)
    first = np.ones(len(identity), np.bool_)
    first[order[1:][same]] = False
    return first


def within_cap(members: RowIds, cap: int, taken: RowIds | None = None) -> Mask:
    """bool [n]: the sets (members [n, m], in order) that one gets by taking each whose rows are in < `cap` before it.

    taken: members [t, m] of sets that were taken already. The same as a loop over the sets, in rounds: a set is taken
    for sure when its rows would stay under the cap were all undecided sets before it taken too; it is out for sure when
    sets taken for sure have used up a row of it.
    """
    before = np.empty((0, members.shape[1]), np.int64) if taken is None else taken
    _, number = np.unique(np.concatenate([before, members]), return_inverse=True)
    number = number.reshape(-1, members.shape[1])
    there = members >= 0
    used = np.bincount(number[: len(before)][before >= 0], minlength=int(number.max(initial=0)) + 1)
    number = number[len(before) :]
    accepted = np.zeros(len(members), np.bool_)
    undecided = np.arange(len(members))
    while len(undecided):
        rows, real = number[undecided], there[undecided]
        # How many undecided sets before it hold the same row: sets are in order, so a stable sort by row counts them.
        flat = np.where(real, rows, -1).ravel()
        order = np.argsort(flat, kind="stable")
        waiting = np.empty(len(flat), np.int64)
        waiting[order] = rank_in_groups(flat[order])
        certain = ((used[rows] + waiting.reshape(rows.shape) < cap) | ~real).all(axis=1)
        np.add.at(used, rows[certain][real[certain]], 1)
        accepted[undecided[certain]] = True
        left = ~certain
        out = ((used[rows] >= cap) & real).any(axis=1)
        undecided = undecided[left & ~out]
    return accepted


def choose(sets: Proposals, alive: Mask, wanted: Sequence[int], cap: int) -> tuple[RowIds, RowIds, RowIds]:
    """Which of the sets where `alive` are made.

    Returns:
        Places of the sets made, in balanced order; of those that repeat another set; of those the cap left out. All
        others that are alive are spare.
    """
    order = balanced_order(sets, np.flatnonzero(alive), wanted)
    first = first_of_each(sets.identity[order])
    repeated, order = order[~first], order[first]
    fits = within_cap(sets.members[order], cap)
    blocked = order[~fits]
    made = _up_to_quota(sets, order[fits], wanted)
    # Spare sets that were counted may have blocked others: whoever is short may try again beside those made alone.
    short = np.asarray(wanted) - np.bincount(sets.strategy[made], minlength=len(wanted))
    again = blocked[short[sets.strategy[blocked]] > 0]
    if len(again):
        fits_now = again[within_cap(sets.members[again], cap, taken=sets.members[made])]
        more = _up_to_quota(sets, fits_now, np.maximum(short, 0).tolist())
        made = balanced_order(sets, np.concatenate([made, more]), wanted)
        blocked = blocked[~np.isin(blocked, more)]
    return made, repeated, blocked


def _up_to_quota(sets: Proposals, places: RowIds, wanted: Sequence[int]) -> RowIds:
    """The first of `places` in balanced order, up to each strategy's quota."""
    order = balanced_order(sets, places, wanted)
    by_strategy = np.argsort(sets.strategy[order], kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[by_strategy] = rank_in_groups(sets.strategy[order][by_strategy])
    chosen: RowIds = order[rank < np.asarray(wanted, np.int64)[sets.strategy[order]]]
    return chosen
