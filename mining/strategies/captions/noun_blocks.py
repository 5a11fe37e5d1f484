"""Random pairs of captions by the number of nouns they share: common levels are drawn from them.

Half of all pairs may share one noun, so listing those takes quadratic time with any method. Instead the captions are
put in a seeded order and cut into blocks; each block is compared with the next, with the one after that in another
round, and so on until enough pairs were seen. So every caption has the same number of random partners. With as many
rounds as there are blocks all pairs are compared, which is what happens in small stores.

Two blocks are compared by their signatures: the 192 commonest nouns have a bit each, so a popcount counts them, and the
other nouns are so rare that the few pairs which share one are listed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.files import exists, join, local_path
from mining.strategies.captions.caption_rows import LARGEST_SHARE
from mining.strategies.captions.noun_sets import EXACT_BITS, NounSets
from mining.strategies.captions.pair_pool import pool_pairs
from mining.strategies.captions.shared_nouns import pad_sets, ranges, shared_mask, without_parts
from mining.strategies.context import MapItems, MiningContext
from mining.strategies.neighbors.work_arrays import save_array

__all__ = ["LEVELS", "Compared", "compare_blocks"]

Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.uint8]

# Captions of a block: the counts of two blocks are 1 MB, so they stay in the processor's cache.
BLOCK = 1_024
# Blocks that an item compares with their next ones; a quarter of a second of work.
ITEM_BLOCKS = 16
# Levels 0 to 64 are counted; a caption has at most 64 nouns.
LEVELS = 65


@dataclass(frozen=True)
class BlocksItem:
    """The captions of blocks first .. last - 1 are compared with those of the blocks that are `apart` further.

    folder: of the noun sets. blocks: how many there are; the first follows the last. size: captions of a block. keep:
    random pairs to keep of two blocks, of each level from `least`, or (without by_level) of all these levels together.
    """

    number: int
    folder: str
    first: int
    last: int
    apart: int
    blocks: int
    size: int
    keep: int
    least: int
    by_level: bool


@dataclass(frozen=True)
class Compared:
    """pairs int64 [n, 3]: positions a < b, and the nouns shared; a random part of those of the levels asked for.

    counts [LEVELS]: all pairs that were compared, by level. captions: different captions compared. repeated: captions
    left out as their text is that of another. whole: whether all pairs of different captions were compared.
    largest_task: captions in a task.
    """

    pairs: Ints
    counts: Ints
    captions: int
    repeated: int
    whole: bool
    largest_task: int


def compare_blocks(
    ctx: MiningContext,
    map_items: MapItems,
    sets: NounSets,
    captions: int,
    pairs: int,
    keep: int,
    *,
    least: int = 1,
    by_level: bool = True,
) -> Compared:
    """Compare about `pairs` random pairs of about `captions` random captions, or all where there are fewer.

    keep: the most pairs to keep of each level from `least`, or (without by_level) of all these levels together.
    """
    every = sets.count * (sets.count - 1) // 2 <= pairs
    drawn = ctx.random("captions").choice(sets.count, sets.count if every else min(captions, sets.count), replace=False)
    order = _different(sets, drawn.astype(np.int64))
    save_array(join(sets.folder, "order.npy"), order)
    size = max(1, min(BLOCK, sets.count // (2 * LARGEST_SHARE)))
    blocks = -(-len(order) // size)
    most = blocks // 2 + 1
    rounds = most if every else min(most, max(1, round(pairs / max(1, len(order) * size))))
    # Rounds 1, 2, ... and at last round 0, each block with itself.
    distances = [*range(1, rounds), 0] if rounds == most else [*range(1, rounds + 1)]
    spans = [(apart, first, last) for apart in distances for first, last in _spans(blocks, apart, sets.count // size)]
    compared = sum(last - first for _, first, last in spans)
    # Each two blocks keep four times their share, since the pairs of a level are not spread evenly over the blocks.
    share = min(keep, -(-4 * keep // max(compared, 1)) + 64)
    items = [
        BlocksItem(number, sets.folder, first, last, apart, blocks, size, share, least, by_level)
        for number, (apart, first, last) in enumerate(spans)
    ]
    counts = map_items(count_blocks, items, "overlap: random pairs")
    pool = pool_pairs(
        (np.load(local_path(_file(item, "pairs"))) for item in items), keep, ctx.config.seed, by_level=by_level
    )
    return Compared(
        pool.pairs,
        np.sum([np.zeros(LEVELS, np.int64), *counts], axis=0, dtype=np.int64),
        len(order),
        len(drawn) - len(order),
        rounds == most and len(drawn) == sets.count,
        max((len(_blocks_of(item)) for item in items), default=0) * size,
    )


def _different(sets: NounSets, drawn: Ints) -> Ints:
    """`drawn` positions in their order, the first with each text: a text on several images counts once."""
    ascending = np.sort(drawn)
    captions = sets.take("captions", ascending)[np.searchsorted(ascending, drawn)]
    return drawn[np.sort(np.unique(captions, return_index=True)[1])]


def _spans(blocks: int, apart: int, most: int) -> list[tuple[int, int]]:
    """Ranges (first, last) of the blocks of one round. most: the number of blocks that would hold all captions."""
    count = blocks // 2 if apart and 2 * apart == blocks else blocks if blocks > 1 or not apart else 0
    step = max(1, min(ITEM_BLOCKS, most // (2 * LARGEST_SHARE)))
    return [(first, min(first + step, count)) for first in range(0, count, step)]


def count_blocks(item: BlocksItem, ctx: MiningContext) -> Ints:
    """Count the shared nouns of each pair; writes `keep` pairs of each level, returns the counts int64 [LEVELS]."""
    counts_file = _file(item, "counts")
    if exists(counts_file):
        counted: Ints = np.load(local_path(counts_file))
        return counted
    order: npt.NDArray[np.int64] = np.load(local_path(join(item.folder, "order.npy")), mmap_mode="r")
    numbers = _blocks_of(item)
    captions = _Captions(NounSets(item.folder), [order[each * item.size : (each + 1) * item.size] for each in numbers])
    levels, found = np.zeros(LEVELS, np.int64), [np.empty((0, 3), np.int64)]
    rng = ctx.random("blocks", item.number)
    for block in range(item.first, item.last):
        one, other = (
            captions.places[int(np.searchsorted(numbers, each))] for each in (block, (block + item.apart) % item.blocks)
        )
        shared = captions.shared(one, other)
        own = np.triu(np.ones(shared.shape, np.bool_), 1).ravel() if not item.apart else None
        flat = shared.ravel()
        counts = np.bincount(flat if own is None else flat[own], minlength=LEVELS)
        levels += counts
        there = np.flatnonzero(counts[item.least :]) + item.least
        for wanted in [flat == level for level in there] if item.by_level else [flat >= item.least]:
            places = np.flatnonzero(wanted if own is None else wanted & own)
            if len(places) > item.keep:
                places = np.sort(rng.choice(places, item.keep, replace=False))
            a, b = np.divmod(places, len(other))
            pair = np.sort(captions.positions[np.stack([one[a], other[b]], axis=1)], axis=1)
            found.append(np.column_stack([pair, flat[places].astype(np.int64)]))
    save_array(_file(item, "pairs"), np.concatenate(found))
    save_array(counts_file, levels)
    return levels


def _blocks_of(item: BlocksItem) -> Ints:
    """The numbers of the blocks in an item, ascending."""
    blocks = np.arange(item.first, item.last)
    return np.unique(np.r_[blocks, (blocks + item.apart) % item.blocks])


class _Captions:
    """The sets of some blocks in memory. positions int64 [n], ascending; places: where each block's captions are."""

    def __init__(self, sets: NounSets, blocks: list[Ints]) -> None:
        self.positions = np.sort(np.concatenate(blocks))
        self.places = [np.searchsorted(self.positions, block) for block in blocks]
        self.bits = np.ascontiguousarray(sets.take("bits", self.positions)[:, : EXACT_BITS // 64].astype(np.uint64))
        self.offsets, self.ranks = sets.ranks(self.positions)
        self.padded, self.parts = pad_sets(self.offsets, self.ranks), sets.parts
        self.compound = sets.parts.compound
        self.rare = len(sets.nouns) - EXACT_BITS  # nouns of lower ranks have no bit of their own
        places = np.flatnonzero(self.compound) - self.rare
        places = places[places >= 0]
        self.compound_bits = np.zeros(EXACT_BITS // 64, np.uint64)
        np.bitwise_or.at(self.compound_bits, places // 64, np.uint64(1) << (places % 64).astype(np.uint64))

    def shared(self, one: Ints, other: Ints) -> Counts:
        """uint8 [one, other]: the number of nouns that captions at these places share, compounds counted once."""
        counts: Counts = np.zeros((len(one), len(other)), np.uint8)
        for word in range(self.bits.shape[1]):
            counts += np.bitwise_count(self.bits[one, word][:, None] & self.bits[other, word])
        a, b, rank = self._rare_pairs(one, other)
        np.add.at(counts, (a, b), np.uint8(1))
        whole = self.compound[rank]
        pairs = np.unique(np.concatenate([a[whole] * len(other) + b[whole], self._common_compounds(one, other)]))
        a, b = np.divmod(pairs, len(other))
        mask = shared_mask(self.padded, one[a], other[b])
        counts[a, b] = without_parts(mask, self.padded, one[a], self.parts).sum(axis=1)
        return counts

    def _rare_pairs(self, one: Ints, other: Ints) -> tuple[Ints, Ints, Ints]:
        """(a, b, rank): one[a] and other[b] share the noun `rank`, which has no bit of its own in the signatures."""
        place_a, rank_a = self._rare_nouns(one)
        place_b, rank_b = self._rare_nouns(other)
        order = np.argsort(rank_b, kind="stable")
        place_b, rank_b = place_b[order], rank_b[order]
        first = np.searchsorted(rank_b, rank_a)
        size = np.searchsorted(rank_b, rank_a, side="right") - first
        return np.repeat(place_a, size), place_b[ranges(first, size)], np.repeat(rank_a, size)

    def _rare_nouns(self, places: Ints) -> tuple[Ints, Ints]:
        sizes = self.offsets[places + 1] - self.offsets[places]
        ranks = self.ranks[ranges(self.offsets[places], sizes)].astype(np.int64)
        owner = np.repeat(np.arange(len(places)), sizes)
        rare = ranks < self.rare
        return owner[rare], ranks[rare]

    def _common_compounds(self, one: Ints, other: Ints) -> Ints:
        """Flat places [one, other] of the pairs that share a compound with a bit of its own."""
        has: npt.NDArray[np.bool_] = np.asarray((self.bits & self.compound_bits).any(axis=1))
        a, b = np.flatnonzero(has[one]), np.flatnonzero(has[other])
        if not len(a) or not len(b):
            return np.empty(0, np.int64)
        both = self.bits[one[a]][:, None] & self.bits[other[b]] & self.compound_bits
        x, y = np.nonzero(both.any(axis=2))
        return a[x] * len(other) + b[y]


def _file(item: BlocksItem, name: str) -> str:
    return join(item.folder, "blocks", f"{name}_{item.number:05d}.npy")
