"""`diverse`: one concept, different pictures.

With a Selection, two images are of one concept when both were retrieved for it; otherwise, when their captions are
close and both fit their images. The images of a pair are far: less similar than the median pair of one concept.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mining.strategies.bands import BANDS, OVERSAMPLED, thin, unique_pairs
from mining.strategies.context import Candidates, MapItems, MiningContext, candidates_table, sentences
from mining.strategies.measured import Measured
from mining.strategies.minable import Minable, concept_rows, minable_rows
from mining.strategies.neighbors.caption_fit import close_captions
from mining.strategies.neighbors.similarity import similarities

__all__ = ["diverse"]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Neighbours of an anchor's caption, and anchors for each set wanted. Half of the rows have a caption that fits, a
# quarter of those a close one, and half of these pairs are far; on 20,000 drawn scenes 8 anchors gave a set.
NEIGHBORS = 16
ANCHORS_A_SET = 12
LEAST_ANCHORS = 4_000


def diverse(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs of one concept whose images differ; the level is the quarter by difference, 4 the most different."""
    store = ctx.open_store()
    minable = minable_rows(ctx, store)
    if ctx.config.selection is not None:
        return _of_concepts(ctx, minable)
    anchors = minable.sample(max(LEAST_ANCHORS, ANCHORS_A_SET * ctx.wanted), ctx.random("anchors"))
    close = close_captions(ctx, map_items, minable, anchors, min(NEIGHBORS, minable.count - 1))
    first = unique_pairs(close.rows)
    pairs, text_sim = np.sort(close.rows[first], axis=1), close.text_sim[first]
    image_sim = similarities(store, "image", pairs)
    limits = Measured(ctx)
    far, level = _far(limits, image_sim)
    dropped = close.dropped | {"found twice": len(close.rows) - len(pairs), "images not far": int((level == 0).sum())}
    kept = np.flatnonzero(level > 0)
    kept = kept[thin(pairs[kept], level[kept], OVERSAMPLED * ctx.wanted, ctx.config.seed)]
    dropped["more than needed"] = int((level > 0).sum()) - len(kept)
    table = candidates_table(
        pairs[kept],
        level=level[kept],
        difficulty=level[kept] / BANDS,
        reasons=[
            sentences(f"caption similarity {{}}, close from {close.floor:.2f} on", text_sim[kept]),
            _far_sentences(image_sim[kept], far, level[kept]),
        ],
    )
    notes = (close.how, f"images are far below {far:.3f}, the median over pairs of close captions", *limits.notes)
    measured = close.measured | limits.values
    return Candidates(table, close.looked_at, dropped, notes=notes, measured=measured)


def _of_concepts(ctx: MiningContext, minable: Minable) -> Candidates:
    """Pairs within each concept of the selection, equally many of each where there are enough."""
    config, store = ctx.config, minable.store
    names, rows, bounds = concept_rows(minable, str(config.selection))
    each = max(1, 2 * OVERSAMPLED * ctx.wanted // max(1, len(names)))
    drawn, of = [np.empty((0, 2), np.int64)], [np.empty(0, np.int64)]
    for code, (start, stop) in enumerate(pairwise(bounds)):
        if stop - start < 2:
            continue
        some = rows[ctx.random("concept", code).integers(start, stop, (each, 2))]
        some = np.sort(some[some[:, 0] != some[:, 1]], axis=1)
        some = some[unique_pairs(some)]
        drawn.append(some)
        of.append(np.full(len(some), code))
    pairs, concept = np.concatenate(drawn), np.concatenate(of)
    image_sim = similarities(store, "image", pairs)
    far, level = np.zeros(len(pairs)), np.zeros(len(pairs), np.int32)
    limits = Measured(ctx)
    for some in np.split(np.arange(len(pairs)), np.flatnonzero(np.diff(concept)) + 1):  # one concept's pairs
        if len(some):
            far[some], level[some] = _far(limits, image_sim[some], f"{names[concept[some[0]]]}: ")
    places = np.flatnonzero(level > 0)
    # As even over concepts and levels as possible.
    places = places[
        thin(pairs[places], concept[places] * (BANDS + 1) + level[places], OVERSAMPLED * ctx.wanted, config.seed)
    ]
    named = names.take(pa.array(concept[places]))
    reasons = [
        sentences("both were retrieved for {}", named),
        _far_sentences(image_sim[places], far[places], level[places]),
    ]
    dropped = {
        "images not far": int((level == 0).sum()),
        "more than needed": int((level > 0).sum()) - len(places),
    }
    notes = ("images are far below the median over pairs of their concept", *limits.notes)
    found = candidates_table(
        pairs[places], level=level[places], difficulty=level[places] / BANDS, reasons=reasons, concept=named
    )
    # Four limits of each concept, which only a held-out side needs.
    measured = {"concepts": float(len(names))} | (limits.values if ctx.split else {})
    return Candidates(found, len(pairs), dropped, notes=notes, measured=measured)


def _far(limits: Measured, image_sim: Floats, of: str = "") -> tuple[float, npt.NDArray[np.int32]]:
    """(the median similarity, below which images are far; the level of each pair [n], 0 where they are not far)."""
    known = image_sim[np.isfinite(image_sim)]
    far = limits.settle(f"{of}far", round(float(np.median(known)), 3) if len(known) else 0.0)
    return far, limits.levels(image_sim, far, of)


def _far_sentences(image_sim: Floats, far: npt.NDArray[np.floating] | float, level: npt.NDArray[np.int32]) -> pa.Array:
    limits = np.broadcast_to(np.asarray(far, np.float64), image_sim.shape)
    return sentences(f"image similarity {{}}, far below {{}} (quarter {{}} of {BANDS})", image_sim, limits, level)
