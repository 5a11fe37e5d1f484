"""`overlap`: captions that share nouns, over levels of overlap (CaD-VI's phase 1) or at least N (CaD-QA: 8).

The level is the number of shared nouns. Pairs of common levels are drawn from random pairs of captions
(`mining.strategies.captions.noun_blocks`). Rarer ones come from a set-similarity join of all captions, in random groups
where that finds enough pairs (`mining.strategies.captions.noun_join`). The reason names the shared nouns, rarest first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mining.strategies.bands import OVERSAMPLED
from mining.strategies.captions.noun_blocks import LEVELS, Compared, compare_blocks
from mining.strategies.captions.noun_join import Join, Joined, join_nouns
from mining.strategies.captions.noun_reasons import explain_pairs
from mining.strategies.captions.noun_sets import NounSets, make_noun_sets
from mining.strategies.captions.pair_pool import sample_pairs, spread
from mining.strategies.captions.shared_nouns import pad_sets, shared_mask
from mining.strategies.context import Candidates, MapItems, MiningContext
from mining.strategies.minable import minable_rows

__all__ = ["overlap"]

Ints = npt.NDArray[np.int64]

# Captions to parse at most, and for each wanted set: CaD-VI made 278,000 pairs from 873,000 captions.
CAPTIONS, CAPTIONS_A_SET = 1 << 20, 4
# Random pairs to compare at least, and for each wanted set; 65 million pairs are compared in a second on one core.
PAIRS, PAIRS_A_SET = 1 << 27, 4_096
# Captions whose random pairs are compared, at least.
FEWEST_CAPTIONS = 1 << 14
# Pairs to find for each that is proposed, so that a sample can take all images equally often.
FOUND_A_PAIR = 2
# A join of more than half of the captions, or in fewer groups than this, is one of all captions with all. It finds
# rarer levels, too.
LARGEST_PART, FEWEST_GROUPS = 0.5, 4
# How many times more captions to parse where too few pairs were found.
LEAST_GROWTH, MOST_GROWTH = 2.0, 16.0


@dataclass(frozen=True)
class _Source:
    """A join from `least` nouns, of which `levels` are taken: of a part of the captions, or of all in random groups."""

    least: int
    levels: tuple[int, ...]
    part: float = 1.0
    groups: int = 1

    def __str__(self) -> str:
        which = f"level {self.least}" if len(self.levels) == 1 else f"levels from {self.least}"
        captions = "all captions" if self.part == 1 else f"{self.part:.1%} of the captions"
        return f"{which} from the join of {captions}{f' in {self.groups} random groups' if self.groups > 1 else ''}"


@dataclass(frozen=True)
class _Plan:
    """drawn: the levels whose pairs are drawn from random pairs. joins: the joins that find the other levels."""

    drawn: tuple[int, ...]
    joins: tuple[_Source, ...]


@dataclass(frozen=True)
class _Found:
    """The pairs int64 [n, 3] of all sources, and what each source counted."""

    sets: NounSets
    pairs: Ints
    plan: _Plan
    compared: Compared
    joined: tuple[Joined, ...]
    unused: int  # random pairs of the levels to mine that were left out


def overlap(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs by the number of nouns that their captions share."""
    rows = minable_rows(ctx, ctx.open_store()).count
    parsed = max(CAPTIONS, CAPTIONS_A_SET * ctx.wanted)
    while True:
        found = _find(ctx, map_items, make_noun_sets(ctx, map_items, parsed))
        if parsed >= rows or len(found.pairs) >= OVERSAMPLED * ctx.wanted:
            break
        # The number of pairs grows with the square of the number of captions.
        growth = 1.1 * math.sqrt(OVERSAMPLED * ctx.wanted / max(len(found.pairs), 1))
        parsed = int(parsed * min(max(growth, LEAST_GROWTH), MOST_GROWTH))
    return _candidates(ctx, map_items, found, rows if parsed < rows else None)


def _find(ctx: MiningContext, map_items: MapItems, sets: NounSets) -> _Found:
    config, proposals = ctx.config, OVERSAMPLED * ctx.wanted
    balanced = config.min_shared_nouns is None
    asked = config.levels if balanced else None
    levels = tuple(each for each in range(config.min_shared_nouns or 1, LEVELS) if asked is None or each in asked)
    # A level may replace others that are rare, but it needs no more than a quarter of all sets.
    keep = max(64, FOUND_A_PAIR * (-(-proposals // max(1, min(len(levels), 4))) if balanced else proposals))
    captions = max(FEWEST_CAPTIONS, CAPTIONS_A_SET * ctx.wanted)
    compared = compare_blocks(
        ctx,
        map_items,
        sets,
        captions,
        max(PAIRS, PAIRS_A_SET * ctx.wanted),
        keep,
        least=min(levels, default=1),
        by_level=balanced,
    )
    different = sets.count * sets.different_share()
    exist = compared.counts * (different * (different - 1) / 2 / max(int(compared.counts.sum()), 1))
    if balanced:
        plan = _plan_levels(compared, exist, levels, proposals, captions / max(different, 1))
        keep = FOUND_A_PAIR * _share(exist[list(levels)], proposals)
    else:
        plan = _plan_least(compared, exist, levels, keep, captions / max(different, 1))
    own = np.isin(compared.pairs[:, 2], plan.drawn)
    pairs, joined = [compared.pairs[own]], []
    for each in plan.joins:
        name = f"{each.least:02d}"
        wanted = Join(name, each.least, each.part, each.groups, keep, each.levels, by_level=balanced)
        joined.append(join_nouns(ctx, map_items, sets, wanted))
        pairs.append(joined[-1].pairs)
    unused = int(compared.counts[list(plan.drawn)].sum()) - int(own.sum())
    return _Found(sets, np.concatenate(pairs), plan, compared, tuple(joined), unused)


def _share(exist: npt.NDArray[Any], total: int) -> int:
    """The number of pairs of each level that makes `total`, as even as possible. exist: pairs that each level has."""
    left, levels = float(total), len(exist)
    for size in np.sort(exist):
        if size * levels >= left:
            return max(1, math.ceil(left / levels))
        left, levels = left - size, levels - 1
    return max(1, math.ceil(float(np.max(exist, initial=1))))


def _plan_levels(
    compared: Compared, exist: npt.NDArray[np.floating], levels: tuple[int, ...], proposals: int, enough: float
) -> _Plan:
    """Choose where the pairs of each level come from, by how many of the random pairs have it.

    exist: [LEVELS], about how many pairs there are. enough: the part of the captions that makes enough images.
    """
    if compared.whole:
        return _Plan(levels, ())
    share = _share(exist[list(levels)], proposals)
    seen = np.bincount(compared.pairs[:, 2], minlength=LEVELS)
    drawn = tuple(level for level in levels if seen[level] >= share)
    joins, everywhere = [], []
    for level in (level for level in levels if level not in drawn):
        join = _join(float(exist[level]), FOUND_A_PAIR * share, enough, (level,))
        if join.part == join.groups == 1:
            everywhere.append(level)
        else:
            joins.append(join)
    if everywhere:
        joins.append(_Source(everywhere[0], tuple(everywhere)))
    return _Plan(drawn, tuple(joins))


def _plan_least(
    compared: Compared, exist: npt.NDArray[np.floating], levels: tuple[int, ...], keep: int, enough: float
) -> _Plan:
    """The same for all levels together."""
    if not levels or compared.whole or int(compared.counts[list(levels)].sum()) >= keep:
        return _Plan(levels, ())
    return _Plan((), (_join(float(exist[list(levels)].sum()), keep, enough, levels),))


def _join(exist: float, keep: int, enough: float, levels: tuple[int, ...]) -> _Source:
    """The join that finds about `keep` of `exist` pairs; the number of pairs grows with the square of the captions."""
    part = max(math.sqrt(keep / exist), enough) if exist else 1.0
    part = part if part <= LARGEST_PART else 1.0
    groups = int(part**2 * exist / keep)
    return _Source(levels[0], levels, part, groups if groups >= FEWEST_GROUPS else 1)


def _candidates(ctx: MiningContext, map_items: MapItems, found: _Found, drawn_of: int | None) -> Candidates:
    """The proposals; drawn_of: how many rows there are, where a part of them was parsed."""
    sets, compared, joined = found.sets, found.compared, found.joined
    pairs = found.pairs[np.lexsort((found.pairs[:, 1], found.pairs[:, 0]))]
    balanced = ctx.config.min_shared_nouns is None
    proposals = OVERSAMPLED * ctx.wanted
    most = _share(np.unique(pairs[:, 2], return_counts=True)[1], proposals) if balanced else proposals
    # A sample of a level takes all captions about equally often, so that few images reach --max-per-image.
    weights = spread(pairs, most) if balanced else None
    if ctx.config.rare_nouns:
        weights = _rarity(sets, pairs) * (1.0 if weights is None else weights)
    kept = sample_pairs(pairs, most, ctx.config.seed, weights, by_level=balanced)
    table = explain_pairs(ctx, map_items, sets, pairs[kept])
    drawn_levels = int(compared.counts[list(found.plan.drawn)].sum())
    dropped = {
        "other numbers of shared nouns": int(compared.counts.sum()) - drawn_levels + sum(each.other for each in joined),
        "more than needed": found.unused + sum(each.surplus for each in joined) + len(pairs) - len(kept),
        "found again": sum(each.repeated for each in joined),
        "not compared, of one key's long list": sum(each.lost for each in joined),
    }
    considered = int(compared.counts.sum()) + sum(each.compared + each.lost for each in joined)
    held = max([compared.largest_task, *(each.largest_task for each in joined)])
    measured = {"captions": float(sets.count), "nouns": float(len(sets.nouns)), "largest_task_captions": float(held)}
    notes = [
        _how(found),
        f"no task held more than {held:,} of {sets.count:,} captions (an eighth is the limit)",
    ]
    if drawn_of is not None:
        notes.append(f"{sets.count:,} captions of {drawn_of:,} rows were parsed, in runs of rows drawn by the seed")
    if compared.repeated:
        notes.append(f"{compared.repeated:,} captions have the text of another one and count once")
    dropped = {reason: count for reason, count in dropped.items() if count}
    return Candidates(table, considered, dropped, notes=tuple(notes), measured=measured, balanced=balanced)


def _rarity(sets: NounSets, pairs: Ints) -> npt.NDArray[np.float64]:
    """float64 [n]: the sum of the idf of the nouns that each pair [n, 3] shares."""
    idf = np.r_[np.log(max(sets.count, 2) / sets.noun_rows), 0.0]
    found = [np.empty(0)]
    for start in range(0, len(pairs), 1 << 18):
        positions, places = np.unique(pairs[start : start + (1 << 18), :2], return_inverse=True)
        one, other = places.reshape(-1, 2).T
        padded = pad_sets(*sets.ranks(positions))
        found.append(np.where(shared_mask(padded, one, other), idf[padded[one]], 0.0).sum(axis=1) + 1e-9)
    return np.concatenate(found)


def _how(found: _Found) -> str:
    plan, compared = found.plan, found.compared
    if not len(found.sets.nouns):
        return "no noun is in two captions, so no pair shares one; images without a caption can't be paired this way"
    parts = []
    if plan.drawn:
        which = "all" if compared.whole else f"{int(compared.counts.sum()):,} random"
        parts.append(
            f"levels {_span(plan.drawn, compared.counts)} from {which} pairs of {compared.captions:,} captions"
        )
    parts += map(str, plan.joins)
    return "; ".join(parts) or "no level to look for"


def _span(levels: tuple[int, ...], counts: Ints) -> str:
    """The levels that have pairs, as text: "1-4", or "2, 4"."""
    there = [level for level in levels if counts[level]] or list(levels[:1])
    consecutive = there == list(range(there[0], there[-1] + 1))
    return f"{there[0]}-{there[-1]}" if consecutive and len(there) > 1 else ", ".join(map(str, there))
