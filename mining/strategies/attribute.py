"""`attribute`: look-alikes that differ in one attribute of one object, as the pairs of Subtle-Diff.

The pairs are those of `similar`: neighbours in image space within the window of look-alikes, and with `--ceiling`
nearly identical images whose pixels differ. Of these the pairs are kept whose captions contradict each other in one
fact only, about the object that both name first: "a white chair", "a gray chair by a table". With `--facts` the facts
are those of the metadata, such as the attributes of a catalog or the truth of an edit, and may be numbers ("rounder").

Everything starts from sampled anchors, so the work depends on the number of sets wanted, not on the size of the store.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.errors import BadInput
from mining.strategies.bands import OVERSAMPLED, best_per_level
from mining.strategies.captions.fact_differences import check_facts, find_differences
from mining.strategies.context import Candidates, MapItems, MiningContext, candidates_table
from mining.strategies.minable import minable_rows
from mining.strategies.neighbors.look_alikes import (
    NEAR_IDENTICAL,
    LookAlikes,
    difficulty_of,
    drop_copies,
    find_look_alikes,
    lifted_ceiling,
    pixels_said,
    similarity_reasons,
)
from mining.text.axes import AXES

__all__ = ["attribute"]

Ints = npt.NDArray[np.int64]

# Neighbours an anchor, and anchors for each set wanted: on 22,000 drawn scenes with captions like those of the web, one
# anchor in six gave a pair.
NEIGHBORS = 32
ANCHORS_A_SET = 24


def attribute(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs that differ in one attribute, which `axis` names; the level is the band of image similarity, 1 the least.

    The more similar the images, the subtler the difference: level 1 is the strongest, 4 (5 where nearly identical
    images are mined) the subtlest. Raises BadInput for an unknown axis, or a field of `facts` that no row has.
    """
    axes = _axes(ctx.config.axes, by_metadata=bool(ctx.config.facts))
    check_facts(ctx, minable_rows(ctx, ctx.open_store()))
    found = find_look_alikes(ctx, map_items, ANCHORS_A_SET * ctx.wanted, NEIGHBORS)
    said = find_differences(ctx, map_items, found.pairs.rows, axes).combine_chunks()
    dropped = dict(found.dropped)
    dropped["no single difference stated"] = len(found.pairs) - said.num_rows
    # Last, since few pairs are left now whose images must be decoded.
    pairs, kept, copies = drop_copies(ctx, map_items, found.pairs.take(said["place"].to_numpy()))
    dropped |= copies
    pairs, said = pairs.take(kept), said.take(pa.array(kept))
    chosen = _choose(ctx, pairs, said)
    dropped["more than needed"] = len(pairs) - len(chosen)
    counts = sorted(Counter(said["axis"].to_pylist()).items(), key=lambda each: (-each[1], each[0]))
    by_axis = ", ".join(f"{axis} {count:,}" for axis, count in counts) or "none"
    pairs, said = pairs.take(chosen), said.take(pa.array(chosen))
    stated = said.to_pylist()
    table = candidates_table(
        pairs.rows,
        level=pairs.level,
        difficulty=difficulty_of(pairs.level),
        reasons=[pa.array(map(_reason, stated), pa.string()), similarity_reasons(pairs, found.window)],
        axis=said["axis"],
        concept=pairs.concept,
        member_captions=said["texts"],
        extra=_extra(stated, pixels_said(pairs)),
    )
    notes = (*found.notes, f"pairs found by axis: {by_axis}")
    near = lifted_ceiling(ctx) or None
    return Candidates(table, found.looked_at, dropped, notes=notes, measured=found.measured, near_duplicates=near)


def _choose(ctx: MiningContext, pairs: LookAlikes, said: pa.Table) -> Ints:
    """Places, ascending, of the pairs to propose: as many of each axis at each level, as far as there are enough.

    Among the pairs of one axis and level, the chance of a pair grows with the square of the share of stated facts in
    which it agrees: the more facts agree, the more surely the named one is all that differs.
    """
    axis = pc.rank(said["axis"], tiebreaker="dense").to_numpy().astype(np.int64)
    group = axis * (NEAR_IDENTICAL + 1) + pairs.level
    agree, unstated = (said[name].to_numpy().astype(np.float64) for name in ("agree", "unstated"))
    share = max(1, -(-OVERSAMPLED * ctx.wanted // max(1, len(np.unique(group)))))
    rows = np.column_stack([pairs.rows, group])
    return best_per_level(rows, share, ctx.config.seed, ((agree + 1) / (agree + unstated + 1)) ** 2)


def _axes(asked: tuple[str, ...], by_metadata: bool) -> tuple[str, ...]:
    """The axes that may differ; of metadata any name is one, so () stands for all."""
    if by_metadata:
        return asked
    for axis in asked:
        if axis not in AXES:
            raise BadInput(f"unknown axis {axis!r}: choose from {', '.join(AXES)}")
    return tuple(dict.fromkeys(asked)) or AXES


def _reason(stated: dict[str, Any]) -> str:
    """ "texture of the cup: smooth / rough (the second is rougher); 6 more facts agree" """
    owner = " and ".join(f"the {each}" for each in stated["owner"].split(" - ")) if stated["owner"] else ""
    degree = f" (the second: {stated['degree']})" if stated["degree"] else ""
    rest = f"{stated['agree']} other facts agree" if stated["agree"] != 1 else "1 other fact agrees"
    alone = ""
    if stated["unstated"]:
        alone = f", {stated['unstated']} {'is' if stated['unstated'] == 1 else 'are'} stated of one image only"
    named = f"{stated['axis']} of {owner}" if owner else stated["axis"]
    return f"{named}: {stated['one']} / {stated['other']}{degree}; {rest}{alone}"


def _extra(stated: list[dict[str, Any]], pixels: list[dict[str, Any]]) -> pa.StringArray:
    """JSON: the difference as data, and what the pixels say where they were compared."""
    names = ("axis", "owner", "one", "other", "degree", "amount", "agree", "unstated")
    said = [{name: each[name] for name in names if each[name] not in (None, "")} for each in stated]
    return pa.array(
        [json.dumps({"difference": one} | where) for one, where in zip(said, pixels, strict=True)], pa.string()
    )
