"""`similar`: look-alikes, as Scene-Difference's pairs are: neighbours in image space that are not one picture.

Floor and ceiling come from the store itself. A pair is at least as alike as the nearest neighbours of three images in
four are (the floor), and less than near-duplicates are (the ceiling). Between them are four bands of equal width, and
the sets are drawn evenly over them, so that not all pairs are as different as look-alikes can be.
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

# Neighbours an anchor: enough that the lower bands fill; the nearest one alone is often a near-duplicate on the web.
NEIGHBORS = 16
# Anchors for one set wanted: two, at up to 16 neighbours, leave plenty after thinning and caps.
ANCHORS_A_SET = 2
# Anchors at least: quantiles of a few hundred values shake.
LEAST_ANCHORS = 2_000


@dataclass(frozen=True)
class Window:
    """Image similarity that look-alikes have in this store: floor <= similarity < ceiling."""

    floor: float
    ceiling: float


def similar(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs of look-alikes; level = band of similarity, 1 the least alike."""
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
    """From the neighbours of sampled rows: where look-alikes lie that are not one picture.

    The ceiling is `near_duplicates`, or the 99th percentile of the similarity to the nearest neighbour where a model
    hardly reaches that. The floor is the lower quartile of the similarity to the nearest one below the ceiling.
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
    # Rounded, so that the manifest's numbers are those that were used.
    return Window(min(round(float(np.quantile(other, 0.25)), 3), ceiling), ceiling)
