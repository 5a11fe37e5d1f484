"""Choose the sets to make: in a seeded random order that is even over strategies and levels, within caps and quotas.

All of it is arithmetic over arrays; a million proposals take seconds.
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
    """Proposed sets as arrays: members int64 [n, m], padded with -1, strategy int [n] and level int [n].

    balanced: bool [n], False for sets that are drawn alike whatever their level; None for none of them.
    """

    def __init__(
        self, members: RowIds, strategy: RowIds, level: RowIds, seed: int, balanced: Mask | None = None
    ) -> None:
        self.members, self.strategy, self.level = members, strategy, level
        self.balanced_level = level if balanced is None else np.where(balanced, level, 0)
        # Sets with the same members in another order are the same set.
        self.identity: RowIds = np.sort(members, axis=1)
        # The same with pictures in place of rows, where several rows show one picture.
        self.pictures: RowIds = self.identity
        self.priority = hash_rows(self.identity, seed)

    def __len__(self) -> int:
        return len(self.members)


def balanced_order(sets: Proposals, places: RowIds, wanted: Sequence[int]) -> RowIds:
    """`places` in the order in which sets are made: every prefix is even over strategies (by quota) and levels.

    Within a strategy and level the order is that of the seeded hash of the members, not that of the proposals.
    """
    strategy, level = sets.strategy[places], sets.balanced_level[places]
    columns = sets.identity[places].T[::-1]  # breaks ties of two equal hashes
    order = np.lexsort((*columns, sets.priority[places], level, strategy))
    cell = strategy[order] * (1 << 32) + level[order]
    turn = rank_in_groups(cell)
    # The first of each level, the second of each level, ... within each strategy,
    order = order[np.lexsort((level[order], turn, strategy[order]))]
    # then the strategies interleaved, each at the same part of its quota.
    along = rank_in_groups(strategy[order]) / np.maximum(np.asarray(wanted, np.float64), 1)[strategy[order]]
    ordered: RowIds = places[order[np.lexsort((strategy[order], along))]]
    return ordered


def first_of_each(identity: RowIds) -> Mask:
    """bool [n]: which sets (sorted members [n, m]) do not repeat an earlier one."""
    order = np.lexsort((np.arange(len(identity)), *identity.T))
    same = (identity[order[1:]] == identity[order[:-1]]).all(axis=1)
    first = np.ones(len(identity), np.bool_)
    first[order[1:][same]] = False
    return first


def within_cap(members: RowIds, cap: int, taken: RowIds | None = None) -> Mask:
    """bool [n]: the sets (members [n, m]) that a loop takes which takes each set whose rows are all in < `cap` sets.

    taken: members [t, m] of sets that were taken before. Computed in passes over the undecided sets. A set is accepted
    when its rows stay under the cap even if all undecided sets before it are taken; it is refused when accepted sets
    have used up one of its rows.
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
        # How many undecided sets before it have the same row; a stable sort by row keeps the sets in order.
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
    """Choose the sets to make among those where `alive`; wanted: the quota of each strategy.

    Returns:
        The places of the sets to make, in balanced order; of those that repeat another set; and of those that the cap
        refused. All other sets that are alive are spare.
    """
    order = balanced_order(sets, np.flatnonzero(alive), wanted)
    first = first_of_each(sets.pictures[order])
    repeated, order = order[~first], order[first]
    fits = within_cap(sets.pictures[order], cap)
    blocked = order[~fits]
    made = _up_to_quota(sets, order[fits], wanted)
    # The cap also counted sets that turned out to be spare. A strategy that is short tries again beside those made.
    short = np.asarray(wanted) - np.bincount(sets.strategy[made], minlength=len(wanted))
    again = blocked[short[sets.strategy[blocked]] > 0]
    if len(again):
        fits_now = again[within_cap(sets.pictures[again], cap, taken=sets.pictures[made])]
        more = _up_to_quota(sets, fits_now, np.maximum(short, 0).tolist())
        made = balanced_order(sets, np.concatenate([made, more]), wanted)
        blocked = blocked[~np.isin(blocked, more)]
    return made, repeated, blocked


def _up_to_quota(sets: Proposals, places: RowIds, wanted: Sequence[int]) -> RowIds:
    """The first of `places` in balanced order, up to the quota of each strategy."""
    order = balanced_order(sets, places, wanted)
    by_strategy = np.argsort(sets.strategy[order], kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[by_strategy] = rank_in_groups(sets.strategy[order][by_strategy])
    chosen: RowIds = order[rank < np.asarray(wanted, np.int64)[sets.strategy[order]]]
    return chosen
