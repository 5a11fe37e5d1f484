"""Filter the sets that all strategies propose, count what each filter removes, and write the image sets of a run.

The filters remove, in this order: sets with a forgotten row, sets that a person rejected, sets with a member that has
no image vector or with two members that are the same picture, sets of levels that were not asked for, repeats of a set
(in any order of its members, from any strategy), and sets with an image that is in `max_per_image` sets already. From
the sets that remain, as many as are wanted are drawn, evenly over levels; the others are spare. For every strategy
proposed = made + sum of dropped + spare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.hashing import hash_rows
from index.store.embedding_store import EmbeddingStore
from mining.select.choose import Proposals, choose
from mining.sets.decisions import Decisions
from mining.sets.image_sets import ImageSets
from mining.sets.sources import store_source
from mining.sets.store_members import members_table, mined_set_ids
from mining.sets.write_sets import ImageSetsWriter
from mining.strategies.context import Candidates, MiningConfig, MiningContext
from mining.strategies.minable import mark_rows
from mining.strategies.neighbors.similarity import same_bytes, set_similarity

__all__ = ["StrategySummary", "assemble"]

RowIds = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# The reasons for dropping a set, in the order of the filters; the summary shows them.
FORGOTTEN = "forgotten rows"
REJECTED = "rejected by a decision"
NEAR = "near-duplicates"
NO_VECTOR = "no image vector"
OTHER_LEVEL = "levels not asked for"
REPEATED = "the same set again"
CAPPED = "an image in enough sets"
REASONS = (FORGOTTEN, REJECTED, NO_VECTOR, NEAR, OTHER_LEVEL, REPEATED, CAPPED)
# The columns of CANDIDATES_SCHEMA that a set keeps as they are.
_COPIED = ("shared_nouns", "axis", "concept", "entity", "reasons", "level", "difficulty", "extra")
# The number of sets written at a time: their captions and metadata take a few hundred MB at most.
_WRITTEN = 50_000


@dataclass(frozen=True)
class StrategySummary:
    """The counts of one strategy: proposed = made + sum(dropped.values()) + spare.

    wanted: its quota. considered: how many sets or rows the strategy looked at. left_out: how many of them it did not
    propose, by reason. levels: level -> sets made. supply: level -> sets proposed. notes, measured: as in Candidates.
    """

    strategy: str
    share: float
    wanted: int
    made: int
    proposed: int
    dropped: dict[str, int]
    spare: int
    considered: int
    left_out: dict[str, int]
    levels: dict[str, int]
    supply: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def short(self) -> int:
        return self.wanted - self.made

    def shortfall(self) -> str | None:
        """A sentence that says how many sets are missing and why; None when none is missing."""
        if not self.short:
            return None
        found = f"only {self.proposed:,} were proposed"
        if why := _listed(self.dropped):
            found += f", of which the filters dropped some ({why})"
        if self.proposed < self.wanted and (why := _listed(self.left_out)):
            found += f"; of {self.considered:,} considered the strategy left out some ({why})"
        return f"{self.strategy}: {self.short:,} of {self.wanted:,} sets are missing: {found}"


def assemble(
    config: MiningConfig, proposed: Sequence[tuple[MiningContext, Candidates]], decisions: Decisions | None = None
) -> ImageSets:
    """Filter the proposed sets and write the image sets to `config.out`, the manifest last."""
    decisions = decisions or Decisions()
    store = EmbeddingStore.open(config.store)
    tables = [candidates.table for _, candidates in proposed]
    table = pa.concat_tables(tables).combine_chunks()
    counts = [each.num_rows for each in tables]
    wanted = [ctx.wanted for ctx, _ in proposed]
    sets = Proposals(
        padded(table["rows"]),
        np.repeat(np.arange(len(counts)), counts),
        table["level"].fill_null(0).to_numpy().astype(np.int64),
        config.seed,
    )
    lost: npt.NDArray[np.int8] = np.full(len(sets), -1, np.int8)

    def drop(mask: Mask, reason: str) -> None:
        lost[mask & (lost < 0)] = REASONS.index(reason)

    drop(_with_forgotten(sets.members, store), FORGOTTEN)
    rejected, of_others = decisions.rejected_rows(store)
    drop(_rejected(sets.identity, rejected), REJECTED)
    open_places = np.flatnonzero(lost < 0)
    image_sim, nearest = np.full(len(sets), np.nan, np.float32), np.full(len(sets), np.nan, np.float32)
    image_sim[open_places], nearest[open_places] = set_similarity(store, "image", sets.members[open_places])
    drop(~np.isfinite(image_sim), NO_VECTOR)
    drop(nearest >= config.near_duplicates, NEAR)
    places = np.flatnonzero(lost < 0)
    drop(_marked(same_bytes(store, sets.members[places], nearest[places]), places, len(sets)), NEAR)
    if config.levels is not None:
        graded = np.array([bool((sets.level[sets.strategy == each] != 0).any()) for each in range(len(counts))], bool)
        drop(graded[sets.strategy] & ~np.isin(sets.level, config.levels), OTHER_LEVEL)
    made, repeated, blocked = choose(sets, lost < 0, wanted, config.max_per_image)
    lost[repeated], lost[blocked] = REASONS.index(REPEATED), REASONS.index(CAPPED)
    summaries = [
        _summary(config, ctx, candidates, sets, lost, made, number) for number, (ctx, candidates) in enumerate(proposed)
    ]
    notes = list(decisions.notes)
    if of_others:
        notes.append(f"{of_others:,} rejected sets of the decisions file belong to other stores or collections")
    return _write(config, store, table, sets, made, image_sim, summaries, notes)


def _listed(counts: dict[str, int]) -> str:
    """Counts by reason as a phrase, the largest first."""
    most_first = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{count:,} {reason}" for reason, count in most_first if count)


def padded(rows: pa.ChunkedArray) -> RowIds:
    """Lists of row ids as int64 [n, m], padded with -1; m is the length of the longest list, at least 2."""
    lists = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    sizes = np.diff(lists.offsets.to_numpy()) if len(lists) else np.empty(0, np.int64)
    members = np.full((len(lists), max(2, int(sizes.max(initial=0)))), -1, np.int64)
    members[np.arange(members.shape[1]) < sizes[:, None]] = lists.flatten().to_numpy()
    return members


def _with_forgotten(members: RowIds, store: EmbeddingStore) -> Mask:
    return np.asarray(mark_rows(members, store.forgotten).any(axis=1))


def _rejected(identity: RowIds, rejected: frozenset[tuple[int, ...]]) -> Mask:
    """bool [n]: which sets (sorted members [n, m]) a person rejected; found by hash, then compared in full."""
    mask = np.zeros(len(identity), np.bool_)
    if not rejected:
        return mask
    width = max(identity.shape[1], max(map(len, rejected)))
    known = np.array([[*[-1] * (width - len(rows)), *rows] for rows in sorted(rejected)], np.int64)
    own = np.pad(identity, ((0, 0), (width - identity.shape[1], 0)), constant_values=-1)
    for place in np.flatnonzero(np.isin(hash_rows(own, 0), hash_rows(known, 0))):
        mask[place] = tuple(row for row in identity[place].tolist() if row >= 0) in rejected
    return mask


def _marked(some: Mask, places: RowIds, count: int) -> Mask:
    mask = np.zeros(count, np.bool_)
    mask[places[some]] = True
    return mask


def _summary(
    config: MiningConfig,
    ctx: MiningContext,
    candidates: Candidates,
    sets: Proposals,
    lost: npt.NDArray[np.int8],
    made: RowIds,
    number: int,
) -> StrategySummary:
    own = sets.strategy == number
    counts = np.bincount(lost[own & (lost >= 0)], minlength=len(REASONS))
    dropped = {reason: int(count) for reason, count in zip(REASONS, counts, strict=True) if count}
    found = _by_level(sets.level[made[sets.strategy[made] == number]])
    notes = list(candidates.notes)
    graded = bool((sets.level[own] != 0).any())
    if config.levels is not None and graded:
        notes += [f"no set at level {level}, which was asked for" for level in config.levels if str(level) not in found]
    proposed = int(own.sum())
    return StrategySummary(
        strategy=ctx.strategy,
        share=dict(config.strategies)[ctx.strategy],
        wanted=ctx.wanted,
        made=sum(found.values()),
        proposed=proposed,
        dropped=dropped,
        spare=proposed - sum(found.values()) - sum(dropped.values()),
        considered=candidates.considered,
        left_out=dict(candidates.dropped),
        levels=found,
        supply=_by_level(sets.level[own]),
        notes=notes,
        measured=dict(candidates.measured),
    )


def _by_level(levels: RowIds) -> dict[str, int]:
    """level -> number of sets."""
    found, counts = np.unique(levels, return_counts=True)
    return {str(level): int(count) for level, count in zip(found, counts, strict=True)}


def _write(
    config: MiningConfig,
    store: EmbeddingStore,
    table: pa.Table,
    sets: Proposals,
    made: RowIds,
    image_sim: npt.NDArray[np.float32],
    summaries: Sequence[StrategySummary],
    notes: Sequence[str],
) -> ImageSets:
    names = pa.array([summary.strategy for summary in summaries])
    writer = ImageSetsWriter(config.out)
    source = store_source(store, config.out)
    for start in range(0, len(made), _WRITTEN):
        places = made[start : start + _WRITTEN]
        some = table.take(pa.array(places))
        text_sim = pa.nulls(len(places), pa.float32())
        if store.has_text:
            values, _ = set_similarity(store, "text", sets.members[places])
            text_sim = pa.array(values, mask=~np.isfinite(values))
        columns: dict[str, Any] = {
            **{name: some[name] for name in _COPIED},
            "set_id": mined_set_ids(source.name, some["rows"]),
            "strategy": names.take(pa.array(sets.strategy[places])),
            "size": pa.array((sets.members[places] >= 0).sum(axis=1).astype(np.int32)),
            "image_sim": pa.array(image_sim[places]),
            "text_sim": text_sim,
        }
        members = members_table(store, source.name, columns["set_id"], some["rows"], some["member_captions"])
        writer.add(pa.table(columns), members)
    asked = {name: value for name, value in asdict(config).items() if name not in ("store", "out", "strict")}
    return writer.finish(
        [source],
        {
            "seed": config.seed,
            "config": asked,
            "strategies": [asdict(summary) for summary in summaries],
            "notes": list(notes),
            "shortfall": [sentence for summary in summaries if (sentence := summary.shortfall())],
        }
    )
