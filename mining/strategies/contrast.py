"""`contrast`: pairs that are easy to confuse, for hard negatives: alike in one modality and different in the other.

There are two kinds, about half of the sets each where there are enough: look-alikes whose captions differ, and images
that differ under close captions. `extra` says which: `{"alike": "images"}` or `{"alike": "captions"}`. The level is the
strength, 4 where the other modality differs the most. Only rows whose caption fits the image are used; otherwise the
contrast would often be a wrong caption.
"""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mining.strategies.bands import BANDS, OVERSAMPLED, thin, unique_pairs
from mining.strategies.context import Candidates, MapItems, MiningContext, candidates_table, sentences
from mining.strategies.measured import Measured
from mining.strategies.minable import Minable, minable_rows
from mining.strategies.neighbors.caption_fit import close_captions, fit_floor, fitting
from mining.strategies.neighbors.look_alikes import look_alike_window, settled_window
from mining.strategies.neighbors.nearest import nearest
from mining.strategies.neighbors.similarity import similarities
from mining.strategies.random_pairs import draw_pairs

__all__ = ["contrast"]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# More anchors a set than `similar` has, as only a part of the look-alikes has captions that differ.
NEIGHBORS = 16
ANCHORS_A_SET = 8
LEAST_ANCHORS = 4_000
# Random pairs, on whose similarity the limits for "different" are based.
_CHANCE = 4_096


def contrast(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs with similar images and different captions, or the reverse; levels 1-4, by strength."""
    store = ctx.open_store()
    minable = minable_rows(ctx, store)
    anchors = minable.sample(max(LEAST_ANCHORS, ANCHORS_A_SET * ctx.wanted), ctx.random("anchors"))
    chance = draw_pairs(minable, _CHANCE, ctx.random("chance"))
    k = min(NEIGHBORS, minable.count - 1)
    halves = [
        _images_alike(ctx, map_items, minable, anchors, k, chance),
        _captions_alike(ctx, map_items, minable, anchors, k, chance),
    ]
    dropped: dict[str, int] = {}
    for half in halves:
        for reason, count in half.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    return Candidates(
        pa.concat_tables([half.table for half in halves]),
        sum(half.considered for half in halves),
        dropped,
        notes=tuple(dict.fromkeys(note for half in halves for note in half.notes)),
        measured={name: value for half in halves for name, value in half.measured.items()},
    )


def _images_alike(
    ctx: MiningContext, map_items: MapItems, minable: Minable, anchors: RowIds, k: int, chance: RowIds
) -> Candidates:
    """Look-alikes whose captions are no closer than those of most random pairs."""
    store = minable.store
    near = nearest(ctx, map_items, minable, "image", anchors, k)
    limits = Measured(ctx)
    window = settled_window(limits, look_alike_window(near.similarity, ctx.config.near_duplicates), "look-alike ")
    known = near.ids >= 0
    found = np.sort(np.stack([np.broadcast_to(anchors[:, None], near.ids.shape)[known], near.ids[known]], 1), axis=1)
    first = unique_pairs(found)
    pairs, image_sim = found[first], near.similarity[known][first]
    inside = (image_sim >= window.floor) & (image_sim < window.ceiling)
    pairs, image_sim = pairs[inside], image_sim[inside]
    floor = limits.settle("caption fit", fit_floor(minable, ctx.random("caption fit")))
    fit = fitting(store, pairs, floor)
    text_sim = similarities(store, "text", pairs)
    own = _limit(similarities(store, "text", chance), text_sim[fit])
    limit = limits.settle("captions differ below", own)
    note = (
        f"images alike, captions not: image similarity {window.floor:.3f} to {window.ceiling:.3f}, caption similarity "
        f"below {limit:.3f}; {near.how}"
    )
    level = np.zeros(len(pairs), np.int32)
    level[fit] = limits.levels(text_sim[fit], limit, "captions: ")
    return _half(
        ctx,
        "images",
        pairs,
        level,
        len(found),
        {
            "found twice": len(found) - len(first),
            "images that are no look-alikes": int((~inside).sum()),
            "captions that do not fit their images": int((~fit).sum()),
            "captions too close": int((fit & (level == 0)).sum()),
        },
        [
            sentences("images alike, captions not: image similarity {}, caption similarity {}", image_sim, text_sim),
            sentences(
                f"look-alikes are at {window.floor:.2f} to {window.ceiling:.2f}, captions differ below {limit:.2f} "
                f"(strength {{}} of {BANDS})",
                level,
            ),
        ],
        (note, *limits.notes),
        limits.values,
    )


def _captions_alike(
    ctx: MiningContext, map_items: MapItems, minable: Minable, anchors: RowIds, k: int, chance: RowIds
) -> Candidates:
    """Close captions whose images are no more similar than those of most random pairs."""
    store = minable.store
    close = close_captions(ctx, map_items, minable, anchors, k)
    first = unique_pairs(close.rows)
    pairs, text_sim = np.sort(close.rows[first], axis=1), close.text_sim[first]
    image_sim = similarities(store, "image", pairs)
    limits = Measured(ctx)
    limit = limits.settle("images differ below", _limit(similarities(store, "image", chance), image_sim))
    note = f"captions alike, images not: image similarity below {limit:.3f}; {close.how}"
    level = limits.levels(image_sim, limit, "images: ")
    return _half(
        ctx,
        "captions",
        pairs,
        level,
        close.looked_at,
        close.dropped | {"found twice": len(close.rows) - len(first), "images too close": int((level == 0).sum())},
        [
            sentences("captions alike, images not: caption similarity {}, image similarity {}", text_sim, image_sim),
            sentences(
                f"captions are close from {close.floor:.2f} on, images differ below {limit:.2f} "
                f"(strength {{}} of {BANDS})",
                level,
            ),
        ],
        (note, *limits.notes),
        close.measured | limits.values,
    )


def _limit(of_random: Floats, found: Floats) -> float:
    """The similarity below which the other modality counts as different.

    It is the upper decile of random pairs, but at least the lower quartile and at most the median of the pairs found,
    so that a quarter to a half of these remain.
    """
    of_random = of_random[np.isfinite(of_random)]
    if not len(found) or not len(of_random):
        return 0.0
    limit = max(float(np.quantile(of_random, 0.9)), float(np.quantile(found, 0.25)))
    return round(min(limit, float(np.median(found))), 3)


def _half(
    ctx: MiningContext,
    alike: str,
    pairs: RowIds,
    level: npt.NDArray[np.int32],
    looked_at: int,
    dropped: dict[str, int],
    reasons: list[pa.Array],
    notes: tuple[str, ...],
    measured: dict[str, float],
) -> Candidates:
    """The candidates of one of the two kinds, thinned to half of what the strategy proposes."""
    found = np.flatnonzero(level > 0)
    kept = found[thin(pairs[found], level[found], -(-OVERSAMPLED * ctx.wanted // 2), ctx.config.seed)]
    dropped = dropped | {"more than needed": len(found) - len(kept)}
    taken = [reason.take(pa.array(kept)) for reason in reasons]
    table = candidates_table(
        pairs[kept],
        level=level[kept],
        difficulty=level[kept] / BANDS,
        reasons=taken,
        extra=pa.array([json.dumps({"alike": alike})] * len(kept), pa.string()),
    )
    return Candidates(table, looked_at, dropped, notes=notes, measured=measured)
