"""Pairs of look-alikes: neighbours in image space within a window of similarity that is measured on the store.

The floor of the window is the similarity to the nearest other picture that three images in four reach; its ceiling is
where near-duplicates begin. The window is cut into bands of equal width, levels 1 to 4. Where `--ceiling` lifts the
ceiling, nearly identical pairs are level 5: `drop_copies` then compares pixels, and drops the pairs that are one
picture, copied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mining.strategies.bands import BANDS, even_bands, thin, unique_pairs
from mining.strategies.context import MapItems, MiningContext
from mining.strategies.measured import Measured
from mining.strategies.minable import minable_rows
from mining.strategies.neighbors.concepts import nearest_in_concepts
from mining.strategies.neighbors.nearest import nearest
from mining.strategies.neighbors.pixel_difference import needs_pixels, pixel_differences
from mining.strategies.neighbors.similarity import same_bytes

__all__ = [
    "NEAR_IDENTICAL",
    "Found",
    "LookAlikes",
    "Window",
    "difficulty_of",
    "drop_copies",
    "find_look_alikes",
    "lifted_ceiling",
    "look_alike_window",
    "pixels_said",
    "settled_window",
    "similarity_reasons",
]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# The level of pairs above the ceiling of near-duplicates; those below have the levels 1 .. BANDS.
NEAR_IDENTICAL = BANDS + 1
# Fewest anchors: the quantiles of a few hundred values vary too much.
LEAST_ANCHORS = 2_000
# Nearly identical pairs whose pixels are compared for each set wanted. On the web most of them are copies.
CHECKED_A_SET = 8


@dataclass(frozen=True)
class Window:
    """The image similarity of look-alikes in this store: floor <= similarity < ceiling."""

    floor: float
    ceiling: float


@dataclass(frozen=True)
class LookAlikes:
    """n pairs.

    rows: int64 [n, 2], ascending. similarity: float32 [n]. level: int32 [n], 1 .. 5, 5 the most similar. concept: the
    concept that both were retrieved for, string [n]; null without a selection. share, box: what differs in the pixels,
    as in `PixelDifferences`; NaN where they were not compared.
    """

    rows: RowIds
    similarity: Floats
    level: npt.NDArray[np.int32]
    concept: pa.StringArray
    share: Floats
    box: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: npt.NDArray[Any]) -> LookAlikes:
        """The pairs at these places."""
        concept = self.concept.take(pa.array(places))
        parts = (each[places] for each in (self.share, self.box))
        return LookAlikes(self.rows[places], self.similarity[places], self.level[places], concept, *parts)


@dataclass(frozen=True)
class Found:
    """The look-alikes of sampled anchors, and what `Candidates` says about the search."""

    pairs: LookAlikes
    window: Window
    looked_at: int
    dropped: dict[str, int]
    notes: tuple[str, ...]
    measured: dict[str, float]


def find_look_alikes(ctx: MiningContext, map_items: MapItems, anchors: int, neighbors: int) -> Found:
    """The pairs of about `anchors` rows with their `neighbors` nearest that lie in the window or, lifted, above it.

    With a selection both rows of a pair were retrieved for one concept. Raises BadInput where `--ceiling` is given and
    the store has no images.
    """
    config, store = ctx.config, ctx.open_store()
    if config.ceiling is not None:
        needs_pixels(store, "--ceiling")
    minable = minable_rows(ctx, store)
    anchors = max(LEAST_ANCHORS, anchors)
    k = min(neighbors, minable.count - 1)
    if config.selection is not None:
        within = nearest_in_concepts(ctx, map_items, minable, anchors, k)
        own, ids, every = within.anchors, within.ids, within.similarity
        named = within.names.take(pa.array(np.broadcast_to(within.concept[:, None], ids.shape)[ids >= 0]))
        how = f"image neighbours came from an exact scan of each of {len(within.names):,} concepts"
    else:
        own = minable.sample(anchors, ctx.random("anchors"))
        near = nearest(ctx, map_items, minable, "image", own, k)
        ids, every, how = near.ids, near.similarity, near.how
        named = pa.nulls(int((ids >= 0).sum()), pa.string())
    limits = Measured(ctx)
    window = settled_window(limits, look_alike_window(every, config.near_duplicates))
    known = ids >= 0
    rows = np.sort(np.stack([np.broadcast_to(own[:, None], ids.shape)[known], ids[known]], 1), axis=1)
    similarity = every[known]
    first = unique_pairs(rows)
    looked_at = len(rows)
    rows, similarity, named = rows[first], similarity[first], named.take(pa.array(first))
    level = even_bands(similarity, window.floor, window.ceiling)
    level[(similarity >= window.ceiling) & (similarity < lifted_ceiling(ctx))] = NEAR_IDENTICAL
    above = (similarity >= window.ceiling) & (level == 0)
    near_duplicates = above & (similarity >= config.near_duplicates)
    dropped = {
        "found twice": looked_at - len(rows),
        "near-duplicates": int(near_duplicates.sum()),
        "above the ceiling": int((above & ~near_duplicates).sum()),
        "below the floor": int((similarity < window.floor).sum()),
        "no image vector": int(np.isnan(similarity).sum()),
    }
    unknown = np.full((len(rows), 5), np.nan, np.float32)
    pairs = LookAlikes(rows, similarity, level, named, unknown[:, 0], unknown[:, 1:]).take(np.flatnonzero(level > 0))
    begin = "near-duplicates begin there"
    if window.ceiling < config.near_duplicates:
        begin = "the 99th percentile of the similarity to the nearest other picture"
    notes = (
        how,
        f"floor {window.floor:.3f}: the lower quartile of the similarity to the nearest other picture below the "
        f"ceiling; ceiling {window.ceiling:.3f}: {begin}",
        *limits.notes,
    )
    measured = limits.values | {"anchors": float(len(own))}
    return Found(pairs, window, looked_at, {why: count for why, count in dropped.items() if count}, notes, measured)


def lifted_ceiling(ctx: MiningContext) -> float:
    """The similarity below which nearly identical pairs are proposed; 0 where the ceiling is not lifted."""
    ceiling = ctx.config.ceiling
    # A cosine of two fp16 vectors may be a little above 1.
    return 0.0 if ceiling is None else 2.0 if ceiling >= 1 else ceiling


def drop_copies(
    ctx: MiningContext, map_items: MapItems, pairs: LookAlikes
) -> tuple[LookAlikes, RowIds, dict[str, int]]:
    """The pairs with what their pixels say, the places of those that are not one picture, and how many are, by reason.

    Up to CHECKED_A_SET pairs for each set wanted are compared, drawn by the seed.
    """
    near = np.flatnonzero(pairs.level == NEAR_IDENTICAL)
    if not len(near):
        return pairs, np.arange(len(pairs)), {}
    drawn = near[thin(pairs.rows[near], pairs.level[near], CHECKED_A_SET * ctx.wanted, ctx.config.seed)]
    equal = same_bytes(ctx.open_store(), pairs.rows[drawn], pairs.similarity[drawn])
    checked = drawn[~equal]
    said = pixel_differences(ctx, map_items, pairs.rows[checked])
    share, box = pairs.share.copy(), pairs.box.copy()
    share[checked], box[checked] = said.share, said.box
    kept = np.sort(np.r_[np.flatnonzero(pairs.level != NEAR_IDENTICAL), checked[said.different]])
    dropped = {
        "nearly identical, more than needed": len(near) - len(drawn),
        "nearly identical, the same bytes": int(equal.sum()),
        "nearly identical, an image that cannot be read": int((~said.readable).sum()),
        "nearly identical, the same picture": int((said.readable & ~said.different).sum()),
    }
    return replace(pairs, share=share, box=box), kept, {name: count for name, count in dropped.items() if count}


def pixels_said(pairs: LookAlikes) -> list[dict[str, Any]]:
    """`{"pixels": {"share", "box"}}` for each pair whose pixels were compared, the part that differs; else {}."""
    return [
        {} if np.isnan(share) else {"pixels": {"share": round(share, 4), "box": box}}
        for share, box in zip(pairs.share.tolist(), pairs.box.tolist(), strict=True)
    ]


def difficulty_of(level: npt.NDArray[np.int32]) -> Floats:
    """float32 [n]: 0.2 for the band of the least similar look-alikes to 1 for nearly identical images."""
    difficulty: Floats = (level / NEAR_IDENTICAL).astype(np.float32)
    return difficulty


def similarity_reasons(pairs: LookAlikes, window: Window) -> pa.StringArray:
    """A sentence for each pair: how similar its images are, and which part of nearly identical ones differs."""
    said = []
    for similarity, level, share, box in zip(
        pairs.similarity.tolist(), pairs.level.tolist(), pairs.share.tolist(), pairs.box.tolist(), strict=True
    ):
        if level == NEAR_IDENTICAL:
            left, top, right, bottom = (round(100 * each) for each in box)
            said.append(
                f"image similarity {similarity:.3f}, above that of look-alikes (up to {window.ceiling:.2f}), but "
                f"{share:.1%} of the picture differs, {left}-{right}% from the left and {top}-{bottom}% from the top"
            )
        else:
            said.append(
                f"image similarity {similarity:.2f}, between {window.floor:.2f} and {window.ceiling:.2f}, where this "
                f"store's look-alikes are (band {level} of {BANDS})"
            )
    return pa.array(said, pa.string())


def settled_window(limits: Measured, own: Window, of: str = "") -> Window:
    """The window to use, where `own` was measured on this side; of: the beginning of the limits' names."""
    ceiling = limits.settle(f"{of}ceiling", own.ceiling)
    return Window(limits.settle(f"{of}floor", own.floor), ceiling)


def look_alike_window(similarity: Floats, near_duplicates: float) -> Window:
    """The window of look-alikes, from the similarities of sampled rows to their neighbours, float32 [a, k], falling.

    The ceiling is `near_duplicates`, or the 99th percentile of the similarity to the nearest neighbour where that is
    lower. The floor is the lower quartile of the similarity to the nearest neighbour below the ceiling.
    """
    first = similarity[:, 0] if similarity.shape[1] else np.empty(0, np.float32)
    first = first[np.isfinite(first)]
    if not len(first):
        return Window(near_duplicates, near_duplicates)
    ceiling = min(near_duplicates, round(float(np.quantile(first, 0.99)) + 0.0005, 3))
    other: Floats = np.where(similarity < ceiling, similarity, -np.inf).max(axis=1)
    other = other[np.isfinite(other)]
    if not len(other):
        return Window(ceiling, ceiling)
    # Rounded, so that the manifest has exactly the numbers that were used.
    return Window(min(round(float(np.quantile(other, 0.25)), 3), ceiling), ceiling)
