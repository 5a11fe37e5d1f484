"""`similar`: look-alikes, as the pairs of Scene-Difference: neighbours in image space that are not the same picture.

Sets are drawn evenly over the bands of the window of similarity (`mining.strategies.neighbors.look_alikes`): otherwise
most pairs would lie near its floor. With `--ceiling` nearly identical pairs are a level of their own, as those of
Spot-the-Diff and of image editing, and with `--selection` both images were retrieved for one concept.
"""

from __future__ import annotations

import json

import pyarrow as pa

from mining.strategies.bands import OVERSAMPLED, thin
from mining.strategies.context import Candidates, MapItems, MiningContext, candidates_table
from mining.strategies.neighbors.look_alikes import (
    NEAR_IDENTICAL,
    difficulty_of,
    drop_copies,
    find_look_alikes,
    lifted_ceiling,
    pixels_said,
    similarity_reasons,
)

__all__ = ["similar"]

# Neighbours an anchor, enough to fill the lower bands. On the web the nearest one is often a near-duplicate.
NEIGHBORS = 16
# Anchors for each set wanted: with up to 16 neighbours each, two leave enough after thinning and caps.
ANCHORS_A_SET = 2


def similar(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs of look-alikes; the level is the band of similarity, 1 the least similar, 5 nearly identical."""
    found = find_look_alikes(ctx, map_items, ANCHORS_A_SET * ctx.wanted, NEIGHBORS)
    pairs, kept, copies = drop_copies(ctx, map_items, found.pairs)
    pairs = pairs.take(kept)
    # As even over levels, and with a selection over its concepts, as possible.
    concept = pairs.concept.dictionary_encode().indices.fill_null(0).to_numpy()
    kept = thin(pairs.rows, concept * (NEAR_IDENTICAL + 1) + pairs.level, OVERSAMPLED * ctx.wanted, ctx.config.seed)
    dropped = found.dropped | copies | {"more than needed": len(pairs) - len(kept)}
    pairs = pairs.take(kept)
    table = candidates_table(
        pairs.rows,
        level=pairs.level,
        difficulty=difficulty_of(pairs.level),
        reasons=[similarity_reasons(pairs, found.window)],
        concept=pairs.concept,
        extra=pa.array([json.dumps(said) if said else None for said in pixels_said(pairs)], pa.string()),
    )
    return Candidates(
        table,
        found.looked_at,
        dropped,
        notes=found.notes,
        measured=found.measured,
        near_duplicates=lifted_ceiling(ctx) or None,
    )
