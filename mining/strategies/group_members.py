"""Choose the members of groups from lists of images.

The images of a list are taken in a seeded order; one that is far from all that were chosen before joins the group. A
list of 48 images takes about 0.1 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.hashing import hash_rows
from mining.strategies.context import MiningContext
from mining.strategies.neighbors.work_arrays import has_arrays, read_array, write_arrays

__all__ = ["GroupItem", "choose_members", "group_sizes", "members_file", "spread"]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Lists whose vectors are held at once: 50 MB of fp32 at 48 images of 512 dimensions.
_LISTS = 512


@dataclass(frozen=True)
class GroupItem:
    """The lists first .. last - 1 of `lists.npy`. far: any two images of a group are less similar than this."""

    number: int
    first: int
    last: int
    far: float


def choose_members(item: GroupItem, ctx: MiningContext) -> int:
    """Write the members of a group for each list, int64 [n, m] padded with -1; returns the number of lists."""
    if has_arrays(ctx, members_file(item)):
        return item.last - item.first
    lists = read_array(ctx, "lists.npy")[item.first : item.last]
    store, least_most = ctx.open_store(), ctx.config.group_size
    found = [np.empty((0, least_most[1]), np.int64)]
    for start in range(0, len(lists), _LISTS):
        some = lists[start : start + _LISTS]
        # The anchor first, the others in a seeded order, no row twice and the gaps last.
        chance = hash_rows(
            np.stack([some, np.broadcast_to(some[:, :1], some.shape)], axis=2).reshape(-1, 2), ctx.config.seed
        )
        chance = chance.reshape(some.shape) >> np.uint64(1)
        chance[:, 0] = 0
        some = np.take_along_axis(some, np.argsort(chance, axis=1, kind="stable"), axis=1)
        rows, back = np.unique(np.maximum(some, 0), return_inverse=True)
        vectors = store.gather("image", rows).astype(np.float32)
        usable = np.isfinite(vectors).all(axis=1) & (np.einsum("ij,ij->i", vectors, vectors) > 0)
        place = np.asarray(back).reshape(some.shape)
        there = (some >= 0) & usable[place]
        chosen = spread(vectors[place], there, item.far, group_sizes(some[:, 0], least_most, ctx.config.seed))
        order = np.argsort(~chosen, axis=1, kind="stable")[:, : least_most[1]]
        taken = np.where(np.take_along_axis(chosen, order, axis=1), np.take_along_axis(some, order, axis=1), -1)
        found.append(np.pad(taken, ((0, 0), (0, least_most[1] - taken.shape[1])), constant_values=-1))
    write_arrays(ctx, members_file(item), members=np.concatenate(found))
    return item.last - item.first


def members_file(item: GroupItem) -> str:
    """The file of an item's groups."""
    return f"members_{item.number:05d}.npz"


def group_sizes(anchors: RowIds, least_most: tuple[int, int], seed: int) -> RowIds:
    """int64 [n]: how many images each group gets at most, evenly between the two numbers, by a hash of its anchor."""
    least, most = least_most
    chance = (hash_rows(anchors[:, None], seed + 1) >> np.uint64(32)).astype(np.int64)
    return least + chance % (most - least + 1)


def spread(vectors: Floats, there: npt.NDArray[np.bool_], far: float, most: RowIds) -> npt.NDArray[np.bool_]:
    """bool [n, k]: which images of each list are chosen: in their order, those less similar than `far` to all before.

    vectors: unit vectors [n, k, d]. there: bool [n, k], False for a gap. most: int [n], how many to choose of each.
    """
    count, width, _ = vectors.shape
    closest = np.full((count, width), -np.inf, np.float32)  # to those chosen so far
    chosen = np.zeros((count, width), np.bool_)
    for column in range(width):
        take = there[:, column] & (closest[:, column] < far) & (chosen.sum(axis=1) < most)
        chosen[take, column] = True
        own = np.einsum("nkd,nd->nk", vectors[take], vectors[take, column])
        closest[take] = np.maximum(closest[take], own)
    return chosen
