"""All pairs among a seeded sample of captions: low levels are drawn from them, and they say how frequent levels are.

Half of all pairs may share one noun, so listing those takes quadratic time with any method. A sample of 8,192 captions
has 33 million pairs, enough of every common level. Shared nouns are counted by a matrix product, block by block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.files import exists, join, local_path
from mining.strategies.bands import best_per_level
from mining.strategies.captions.noun_sets import LARGEST_SHARE, NounSets, save_array
from mining.strategies.context import MapItems, MiningContext

__all__ = ["SAMPLE", "Sampled", "sample_pairs"]

Ints = npt.NDArray[np.int64]

# Captions in the sample, and of a block: 2,048 x 2,048 counts are 16 MB, the matrix of its nouns 20 to 40 MB.
SAMPLE = 8_192
BLOCK = 2_048
# Levels 0 to 64 are counted; a caption has at most 64 nouns.
LEVELS = 65


@dataclass(frozen=True)
class BlockItem:
    """Two blocks `one` <= `other` of the sample. keep: random pairs to keep of each level."""

    number: int
    one: int
    other: int
    block: int
    keep: int


@dataclass(frozen=True)
class Sampled:
    """pairs int64 [n, 3]: position a < b, nouns shared. counts [LEVELS]: pairs of each level in the whole sample.

    captions: different captions in the sample. whole: whether all captions are in it. largest_task: captions in a
    task.
    """

    pairs: Ints
    counts: Ints
    captions: int
    whole: bool
    largest_task: int


def sample_pairs(ctx: MiningContext, map_items: MapItems, sets: NounSets, keep: int) -> Sampled:
    """Up to `keep` random pairs of each level among a sample of the captions."""
    drawn = ctx.random("captions").choice(sets.count, min(SAMPLE, sets.count), replace=False)
    positions = np.sort(drawn).astype(np.int64)
    captions = sets.take("captions", positions)
    positions = np.sort(
        positions[np.unique(captions, return_index=True)[1]]
    )  # the same text on several images counts once
    save_array(join(ctx.folder, "sample.npy"), positions)
    block = max(1, min(BLOCK, sets.count // (2 * LARGEST_SHARE)))
    blocks = -(-len(positions) // block)
    ordered = [(one, other) for one in range(blocks) for other in range(one, blocks)]
    items = [BlockItem(number, one, other, block, keep) for number, (one, other) in enumerate(ordered)]
    counts = map_items(count_block, items, "overlap: sample")
    pieces = [np.load(local_path(_file(ctx, item, "pairs"))) for item in items]
    pairs = np.concatenate([np.empty((0, 3), np.int64), *pieces])
    kept = best_per_level(pairs, keep, ctx.config.seed)
    pairs = pairs[kept]
    return Sampled(
        pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))],
        np.sum([np.zeros(LEVELS, np.int64), *counts], axis=0, dtype=np.int64),
        len(positions),
        len(drawn) == sets.count,
        2 * block,
    )


def count_block(item: BlockItem, ctx: MiningContext) -> Ints:
    """Count the shared nouns of each pair of two blocks; writes `keep` pairs a level, returns int64 [LEVELS] counts."""
    counts_file = _file(ctx, item, "counts")
    if exists(counts_file):
        counted: Ints = np.load(local_path(counts_file))
        return counted
    sets = NounSets(ctx.folder)
    sample: Ints = np.load(local_path(join(ctx.folder, "sample.npy")))
    one = sample[item.one * item.block : (item.one + 1) * item.block]
    other = sample[item.other * item.block : (item.other + 1) * item.block]
    shared = _products(sets, one, other)
    if item.one == item.other:
        shared[np.tril_indices(len(one))] = -1
    levels = np.bincount(shared.ravel() + 1, minlength=LEVELS + 1)[1 : LEVELS + 1].astype(np.int64)
    found = [np.empty((0, 3), np.int64)]
    rng = ctx.random("block", item.number)
    for level in np.flatnonzero(levels):
        places = np.flatnonzero(shared.ravel() == level)
        if len(places) > item.keep:
            places = np.sort(rng.choice(places, item.keep, replace=False))
        a, b = np.divmod(places, len(other))
        found.append(np.stack([one[a], other[b], np.full(len(places), level)], axis=1))
    save_array(_file(ctx, item, "pairs"), np.concatenate(found))
    save_array(counts_file, levels)
    return levels


def _products(sets: NounSets, one: Ints, other: Ints) -> npt.NDArray[np.int16]:
    """int16 [one, other]: the number of shared nouns, by a product of 0-1 matrices over the nouns of both blocks."""
    offsets_a, ranks_a = sets.ranks(one)
    offsets_b, ranks_b = sets.ranks(other)
    both = np.intersect1d(ranks_a, ranks_b)
    matrices = []
    for offsets, ranks in ((offsets_a, ranks_a), (offsets_b, ranks_b)):
        matrix = np.zeros((len(offsets) - 1, len(both)), np.float32)
        known = np.isin(ranks, both)
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[known]
        matrix[rows, np.searchsorted(both, ranks[known])] = 1
        matrices.append(matrix)
    # Sums of ones up to 64 are exact in float32.
    product: npt.NDArray[np.int16] = (matrices[0] @ matrices[1].T).astype(np.int16)
    return product


def _file(ctx: MiningContext, item: BlockItem, name: str) -> str:
    return join(ctx.folder, "sample", f"{name}_{item.number:05d}.npy")
