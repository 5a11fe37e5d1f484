"""`similar`: look-alikes, as the pairs of Scene-Difference: neighbours in image space that are not the same picture.

The range of similarity is measured on the store. Its floor is the similarity to the nearest other picture that three
images in four reach; its ceiling is where near-duplicates begin. The range is cut into four bands of equal width and
the sets are drawn evenly over them: otherwise most pairs would lie near the floor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mining.strategies.bands import BANDS, OVERSAMPLED, even_bands, thin, unique_pairs
from mining.strategies.context import Candidates, MapItems, MiningContext, candidates_table, sentences
from mining.strategies.minable import minable_rows
from mining.strategies.neighbors.nearest import Nearest, nearest

__all__ = ["Window", "similar"]

# Neighbours an anchor, enough to fill the lower bands. On the web the nearest one is often a near-duplicate.
NEIGHBORS = 16
# Anchors for each set wanted: with up to 16 neighbours each, two leave enough after thinning and caps.
ANCHORS_A_SET = 2
# Fewest anchors: the quantiles of a few hundred values vary too much.
LEAST_ANCHORS = 2_000


@dataclass(frozen=True)
class Window:
    """The image similarity of look-alikes in this store: floor <= similarity < ceiling."""

    floor: float
    ceiling: float


def similar(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs of look-alikes; the level is the band of similarity, 1 the least similar."""
    store = ctx.open_store()
    minable = minable_rows(ctx, store)
    anchors = minable.sample(max(LEAST_ANCHORS, ANCHORS_A_SET * ctx.wanted), ctx.random("anchors"))
    near = nearest(ctx, map_items, minable, "image", anchors, min(NEIGHBORS, minable.count - 1))
    window = look_alike_window(near, ctx.config.near_duplicates)
    known = near.ids >= 0
    pairs = np.sort(np.stack([np.broadcast_to(anchors[:, None], near.ids.shape)[known], near.ids[known]], 1), axis=1)
    similarity = near.similarity[known]
    first = unique_pairs(pairs)
    pairs, similarity = pairs[first], similarity[first]
    levels = even_bands(similarity, window.floor, window.ceiling)
    dropped = {
        "near-duplicates": int((similarity >= window.ceiling).sum()),
        "below the floor": int((similarity < window.floor).sum()),
    }
    inside = levels > 0
    pairs, similarity, levels = pairs[inside], similarity[inside], levels[inside]
    kept = thin(pairs, levels, OVERSAMPLED * ctx.wanted, ctx.config.seed)
    dropped["more than needed"] = len(pairs) - len(kept)
    table = candidates_table(
        pairs[kept],
        level=levels[kept],
        reasons=[
            sentences(
                f"image similarity {{}}, between {window.floor:.2f} and {window.ceiling:.2f}, where this store's "
                f"look-alikes are (band {{}} of {BANDS})",
                similarity[kept],
                levels[kept],
            )
        ],
    )
    notes = (
        near.how,
        f"floor {window.floor:.3f}: the lower quartile of the similarity to the nearest other picture; ceiling "
        f"{window.ceiling:.3f}: near-duplicates",
    )
    measured = {"floor": window.floor, "ceiling": window.ceiling, "anchors": float(len(anchors))}
    return Candidates(table, len(known.ravel()), dropped, notes, measured)


def look_alike_window(near: Nearest, near_duplicates: float) -> Window:
    """The range of similarity of look-alikes, from the neighbours of sampled rows.

    The ceiling is `near_duplicates`, or the 99th percentile of the similarity to the nearest neighbour where that is
    lower. The floor is the lower quartile of the similarity to the nearest neighbour below the ceiling.
    """
    first = near.similarity[:, 0]
    first = first[np.isfinite(first)]
    if not len(first):
        return Window(near_duplicates, near_duplicates)
    ceiling = min(near_duplicates, round(float(np.quantile(first, 0.99)) + 0.0005, 3))
    other: npt.NDArray[np.float32] = np.where(near.similarity < ceiling, near.similarity, -np.inf).max(axis=1)
    other = other[np.isfinite(other)]
    if not len(other):
        return Window(ceiling, ceiling)
    # Rounded, so that the manifest has exactly the numbers that were used.
    return Window(min(round(float(np.quantile(other, 0.25)), 3), ceiling), ceiling)
