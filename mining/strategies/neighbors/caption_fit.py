"""Captions that fit their images, and pairs of rows whose captions fit and are close to each other.

A web caption may say "click to enlarge" or describe another thing. Two such captions may be close to each other without
telling anything about the images. Strategies that rely on captions therefore use only rows whose caption fits: the
cosine of image and caption is at least the store's median. On 20,000 drawn scenes, of the pairs with a caption
similarity of 0.95 to 0.9999 and an image similarity of 0.4 to 0.6, half had a subject in common; with both captions
fitting, nine in ten.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import MapItems, MiningContext
from mining.strategies.measured import Measured
from mining.strategies.minable import Minable
from mining.strategies.neighbors.nearest import nearest

__all__ = ["ClosePairs", "caption_fit", "close_captions", "fit_floor", "fitting"]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Rows that the median is estimated on; its error is then about one percentile.
_SAMPLED = 4_096
# Rows whose vectors are gathered at a time.
_ROWS = 65_536
# Above this, captions have the same words. A caption of many different images says little about any of them.
EQUAL_CAPTIONS = 0.9999
# Captions are close from this quantile of the similarity to the nearest other caption. On 20,000 drawn scenes 0.95 of
# the pairs of `diverse` had a subject in common, 0.73 with the median, and 0.98 with the quantile 0.85, which left less
# than half as many pairs.
CLOSE = 0.75


@dataclass(frozen=True)
class ClosePairs:
    """Pairs with close captions that both fit their images.

    rows: int64 [n, 2], an anchor and its neighbour, the pairs of an anchor together. text_sim: float32 [n]. floor: the
    least similarity of close captions. looked_at: pairs before filtering. dropped: pairs that were filtered out, by
    reason. how: a sentence that says how pairs were found. measured: as in `Candidates`.
    """

    rows: RowIds
    text_sim: Floats
    floor: float
    looked_at: int
    dropped: dict[str, int]
    how: str
    measured: dict[str, float]


def caption_fit(store: EmbeddingStore, rows: RowIds) -> Floats:
    """float32 [n]: the cosine of each row's image and its own caption."""
    fit = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        image, text = (store.gather(each, some).astype(np.float32) for each in ("image", "text"))
        fit[start : start + _ROWS] = np.einsum("ij,ij->i", image, text)
    return fit


def fit_floor(minable: Minable, random: np.random.Generator) -> float:
    """The median of `caption_fit` over sampled rows, rounded so that the manifest has exactly this number."""
    rows = minable.sample(_SAMPLED, random)
    return round(float(np.median(caption_fit(minable.store, rows))), 3) if len(rows) else 0.0


def fitting(store: EmbeddingStore, pairs: RowIds, floor: float) -> npt.NDArray[np.bool_]:
    """bool [n]: the pairs whose two captions both fit their images."""
    rows, back = np.unique(pairs, return_inverse=True)
    return np.asarray((caption_fit(store, rows) >= floor)[np.asarray(back).reshape(pairs.shape)].all(axis=1))


def close_captions(
    ctx: MiningContext,
    map_items: MapItems,
    minable: Minable,
    anchors: RowIds,
    k: int,
    *,
    quantile: float = CLOSE,
    same_words: bool = False,
) -> ClosePairs:
    """Pairs of rows with close captions: among the k nearest, from a quantile of the similarity to the nearest on.

    anchors: int64 [a]; those whose caption does not fit are skipped. same_words: also pairs of equal captions.
    """
    store = minable.store
    limits = Measured(ctx)
    floor = limits.settle("caption fit", fit_floor(minable, ctx.random("caption fit")))
    fit = anchors[caption_fit(store, anchors) >= floor]
    near = nearest(ctx, map_items, minable, "text", fit, k)
    known = near.ids >= 0
    pairs = np.stack([np.broadcast_to(fit[:, None], near.ids.shape)[known], near.ids[known]], axis=1)
    text_sim = near.similarity[known]
    other = np.where(near.similarity < EQUAL_CAPTIONS, near.similarity, -np.inf).max(axis=1, initial=-np.inf)
    other = other[np.isfinite(other)]
    least = round(float(np.quantile(other, quantile)), 3) if len(other) else EQUAL_CAPTIONS
    least = limits.settle("captions close from", least)
    equal = (text_sim >= EQUAL_CAPTIONS) & (not same_words)
    close = (text_sim >= least) & ~equal
    good = np.zeros(len(pairs), np.bool_)
    good[close] = fitting(store, pairs[close], floor)
    dropped = {
        "captions of the same words": int(equal.sum()),
        "captions not close": int((~close & ~equal).sum()),
        "captions that do not fit their images": int((close & ~good).sum()),
    }
    how = (
        f"{near.how}; captions fit their images from cosine {floor:.3f} on (the store's median), and are close from "
        f"{least:.3f} on (quantile {quantile:g} of the similarity to the nearest other caption)"
    )
    return ClosePairs(pairs[good], text_sim[good], least, len(pairs), dropped, how, limits.values)
