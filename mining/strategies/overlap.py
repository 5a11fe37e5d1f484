"""`overlap`: captions that share nouns, over levels of overlap (CaD-VI's phase 1) or at least N (CaD-QA: 8).

The level is the number of shared nouns. Pairs of common levels are drawn from all pairs of a seeded sample of captions
(`mining.strategies.captions.noun_sample`). Rarer ones come from a set-similarity join over as many captions as are
needed to find enough pairs (`mining.strategies.captions.noun_join`). The reason names the shared nouns, rarest first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mining.strategies.bands import OVERSAMPLED, best_per_level
from mining.strategies.captions.noun_join import Join, Joined, join_nouns
from mining.strategies.captions.noun_sample import Sampled, sample_pairs
from mining.strategies.captions.noun_sets import NounSets, make_noun_sets, pad_sets, shared_mask
from mining.strategies.context import Candidates, MapItems, MiningContext, candidates_table

__all__ = ["LEVELS", "overlap"]

Ints = npt.NDArray[np.int64]

# CaD-VI balances its 278K pairs over levels of overlap but does not list them; CaD-QA asks for 8 nouns and more.
LEVELS = (1, 2, 3, 4, 5, 6, 7, 8)
# Pairs to find for each that is proposed, so that sampling has some to choose from.
FOUND_A_PAIR = 2
# A join that needs more than this part of the captions takes all of them, and rarer levels with it.
WORTH_A_JOIN = 0.5
_ALL = (1 << 64) - 1


@dataclass(frozen=True)
class _Plan:
    """sampled: levels from the sample. joins: (least nouns, part of the captions, levels to take or None for all)."""

    sampled: tuple[int, ...]
    joins: tuple[tuple[int, float, tuple[int, ...] | None], ...]


def overlap(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs by the number of nouns that their captions share."""
    sets = make_noun_sets(ctx, map_items)
    least = ctx.config.min_shared_nouns
    levels = tuple(sorted(set(ctx.config.levels or LEVELS) - {0})) if least is None else ()
    keep = max(64, FOUND_A_PAIR * OVERSAMPLED * ctx.wanted // max(len(levels), 1))
    sample = sample_pairs(ctx, map_items, sets, keep)
    plan = _plan(sample, sets.count, levels, least, keep)
    found = [sample.pairs[np.isin(sample.pairs[:, 2], plan.sampled)]]
    joined: list[Joined] = []
    for at_least, part, taken in plan.joins:
        below = _ALL if part >= 1 else int(part * _ALL)
        wanted = Join(f"{at_least:02d}", at_least, below, max(1, int(sets.count * part)), keep)
        result = join_nouns(ctx, map_items, sets, wanted)
        joined.append(result)
        found.append(result.pairs if taken is None else result.pairs[np.isin(result.pairs[:, 2], taken)])
    return _candidates(ctx, sets, np.concatenate(found), sample, plan, joined)


def _plan(sample: Sampled, count: int, levels: tuple[int, ...], least: int | None, keep: int) -> _Plan:
    """Choose where the pairs of each level come from, by how many pairs of the sample have it."""
    counts = sample.counts
    whole = sample.whole
    # How many times more pairs there are among all captions than in the sample.
    more = (count / max(sample.captions, 1)) ** 2
    if least is not None:
        above = int(counts[least:].sum())
        if whole or above >= keep:
            return _Plan(tuple(range(least, len(counts))), ())
        return _Plan((), ((least, _part(above, more, keep), None),))
    sampled = tuple(level for level in levels if whole or (level < len(counts) and counts[level] >= keep))
    joins: list[tuple[int, float, tuple[int, ...] | None]] = []
    everywhere: list[int] = []
    for level in (level for level in levels if level not in sampled and level < len(counts)):
        part = _part(int(counts[level]), more, keep)
        if part >= 1:
            everywhere.append(level)
        else:
            joins.append((level, part, (level,)))
    if everywhere:
        joins.append((everywhere[0], 1.0, tuple(everywhere)))
    return _Plan(sampled, tuple(joins))


def _part(seen: int, more: float, keep: int) -> float:
    """The part of the captions that has about twice `keep` pairs; the number of pairs grows with its square."""
    part = math.sqrt(2 * keep / (seen * more)) if seen else 1.0
    return part if part < WORTH_A_JOIN else 1.0


def _candidates(
    ctx: MiningContext, sets: NounSets, pairs: Ints, sample: Sampled, plan: _Plan, joined: list[Joined]
) -> Candidates:
    positions, places = np.unique(pairs[:, :2], return_inverse=True)
    places = places.reshape(-1, 2)
    offsets, ranks = sets.ranks(positions)
    padded = pad_sets(offsets, ranks)
    common = shared_mask(padded, places[:, 0], places[:, 1])
    weights = None
    if ctx.config.rare_nouns:
        idf = np.log(max(sets.count, 2) / sets.noun_rows)
        weights = np.where(common, np.r_[idf, 0.0][padded[places[:, 0]]], 0.0).sum(axis=1) + 1e-9
    levels = len(np.unique(pairs[:, 2]))
    most = max(1, -(-OVERSAMPLED * ctx.wanted // max(levels, 1)))
    kept = best_per_level(pairs, most, ctx.config.seed, weights)
    places, common = places[kept], common[kept]
    nouns = sets.nouns.take(pa.array(padded[places[:, 0]][common])).combine_chunks()
    lengths = common.sum(axis=1)
    ends = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    names = nouns.to_pylist()
    reasons = [
        f"share {size} noun{'s' if size != 1 else ''}: {', '.join(names[start : start + size])}"
        for start, size in zip(ends.tolist(), lengths.tolist(), strict=False)
    ]
    rows = sets.take("rows", positions).astype(np.int64) if len(positions) else np.empty(0, np.int64)
    table = candidates_table(
        np.sort(rows[places], axis=1),
        level=lengths,
        reasons=[pa.array(reasons, pa.string())],
        shared_nouns=pa.ListArray.from_arrays(pa.array(ends), nouns.cast(pa.string())),
    )
    dropped = {
        "more than needed": len(pairs) - len(kept) + sum(each.surplus for each in joined),
        "the same caption again": sum(each.same_caption for each in joined),
        "not compared, of one key's long list": sum(each.lost for each in joined),
    }
    compared = int(sample.counts.sum()) + sum(each.compared for each in joined)
    held = max([sample.largest_task, *(each.largest_task for each in joined)])
    measured = {"captions": float(sets.count), "nouns": float(len(sets.nouns)), "largest_task_captions": float(held)}
    notes = (
        _how(sample, plan),
        f"no task held more than {held:,} of {sets.count:,} captions (an eighth is the limit)",
    )
    return Candidates(table, compared, dropped, notes, measured)


def _how(sample: Sampled, plan: _Plan) -> str:
    parts = []
    if plan.sampled:
        parts.append(f"levels {_span(plan.sampled)} from all pairs of {sample.captions:,} captions")
    for least, part, taken in plan.joins:
        which = f"levels from {least}" if taken is None else f"levels {_span(taken)}"
        parts.append(f"{which} from the join over {'all captions' if part >= 1 else f'{part:.1%} of the captions'}")
    return "; ".join(parts) or "no level to look for"


def _span(levels: tuple[int, ...]) -> str:
    consecutive = levels == tuple(range(levels[0], levels[-1] + 1))
    return f"{levels[0]}-{levels[-1]}" if consecutive and len(levels) > 1 else ", ".join(map(str, levels))
