"""Connected components of pairs: which rows are joined by a chain of pairs, in memory that follows the pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

__all__ = ["join_groups", "members_of", "spanning_edges"]

Ints = npt.NDArray[np.int64]


def join_groups(group: Ints, one: Ints, other: Ints) -> Ints:
    """`group` [n] (the place of each group's first image) after the images one[i] and other[i] were joined, all i."""
    group = group.copy()
    while True:
        left, right = group[one], group[other]
        least = np.minimum(left, right)
        if (left == right).all():
            return group
        np.minimum.at(group, left, least)
        np.minimum.at(group, right, least)
        while (group[group] != group).any():
            group = group[group]


def spanning_edges(pairs: Ints) -> Ints:
    """int64 [m, 2]: (row, least row of its component) of each row of `pairs` [n, 2] that is not the least one itself.

    Rows ascend. The components are those of `pairs`, and m is smaller than the number of rows in them.
    """
    rows, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(-1, 2)
    group = join_groups(np.arange(len(rows), dtype=np.int64), places[:, 0], places[:, 1])
    joined = np.flatnonzero(group != np.arange(len(rows)))
    return np.stack([rows[joined], rows[group[joined]]], axis=1).reshape(-1, 2)


def members_of(groups: Ints) -> Iterator[Ints]:
    """Yield the places, ascending, of the members of each group of two or more; numbers below 0 are no groups."""
    order = np.argsort(groups, kind="stable").astype(np.int64)
    ordered = groups[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(order) else order
    ends = np.append(starts[1:], len(order))
    for number in np.flatnonzero((ends - starts > 1) & (ordered[starts] >= 0)):
        yield order[starts[number] : ends[number]]
