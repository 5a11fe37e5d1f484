"""Filter the sets that all strategies propose, count what each filter removes, and write the image sets of a run.

The filters remove, in this order: sets with a forgotten row, sets that a person rejected, sets with a member that has
no image vector or with two members that are the same picture, sets of levels that were not asked for, repeats of a set
(in any order of its members, from any strategy), and sets with an image that is in `max_per_image` sets already. Rows
that show one picture (`mining.select.pictures`) count as one image in repeats, limits and rejections. From
the sets that remain, as many as are wanted are drawn, evenly over levels; the others are spare. With a hold-out the
training sets are chosen first, and then, of the held-out sets that show none of their pictures, the held-out ones. For
every strategy, and each side of a hold-out, proposed = made + sum of dropped + spare.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from index.hashing import hash_rows
from index.store.embedding_store import EmbeddingStore
from mining.select.choose import Proposals, balanced_order, choose
from mining.select.hold_out import shows_training_pictures
from mining.select.pictures import Pictures
from mining.select.summary import StrategySummary, summarize
from mining.select.write import write_mined
from mining.sets.decisions import Decisions
from mining.sets.image_sets import ImageSets
from mining.strategies.context import HELD_OUT, Candidates, MiningConfig, MiningContext, padded
from mining.strategies.minable import mark_rows
from mining.strategies.neighbors.similarity import same_bytes, set_similarity

__all__ = ["assemble"]

RowIds = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# The reasons for dropping a set, in the order of the filters; the summary shows them.
FORGOTTEN = "forgotten rows"
REJECTED = "rejected by a decision"
NEAR = "near-duplicates"
NO_VECTOR = "no image vector"
OTHER_LEVEL = "levels not asked for"
REPEATED = "the same set again"
IN_TRAINING = "with a picture of the training sets"
CAPPED = "an image in enough sets"
REASONS = (FORGOTTEN, REJECTED, NO_VECTOR, NEAR, OTHER_LEVEL, IN_TRAINING, REPEATED, CAPPED)


def assemble(
    config: MiningConfig, proposed: Sequence[tuple[MiningContext, Candidates]], decisions: Decisions | None = None
) -> ImageSets:
    """Filter the proposed sets and write the image sets to `config.out`, the manifest last.

    Raises BadInput, before anything is written, where a hold-out leaves no set on one of its sides; ValueError for a
    strategy that gives a difficulty outside 0..1.
    """
    decisions = decisions or Decisions()
    store = EmbeddingStore.open(config.store)
    tables = [candidates.table for _, candidates in proposed]
    table = pa.concat_tables(tables).combine_chunks()
    _check_difficulty(proposed)
    counts = [each.num_rows for each in tables]
    wanted = [ctx.wanted for ctx, _ in proposed]
    sets = Proposals(
        padded(table["rows"]),
        np.repeat(np.arange(len(counts)), counts),
        table["level"].fill_null(0).to_numpy().astype(np.int64),
        config.seed,
        np.repeat([candidates.balanced for _, candidates in proposed], counts),
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
    limits = [config.near_duplicates if each.near_duplicates is None else each.near_duplicates for _, each in proposed]
    drop(nearest >= np.array(limits, np.float32)[sets.strategy], NEAR)
    places = np.flatnonzero(lost < 0)
    drop(_marked(same_bytes(store, sets.members[places], nearest[places]), places, len(sets)), NEAR)
    if config.levels is not None:
        graded = np.array([bool((sets.level[sets.strategy == each] != 0).any()) for each in range(len(counts))], bool)
        drop(graded[sets.strategy] & ~np.isin(sets.level, config.levels), OTHER_LEVEL)
    pictures = _count_by_picture(sets, lost < 0, store, rejected)
    drop(_rejected(sets.pictures, _rejected_pictures(rejected, pictures, store)), REJECTED)
    held = np.array([ctx.split == HELD_OUT for ctx, _ in proposed], np.bool_)[sets.strategy]
    made = np.empty(0, np.int64)
    for side in (~held, held):
        if not side.any():
            continue
        if len(made):
            places = np.flatnonzero(side & (lost < 0))
            shown = shows_training_pictures(store, sets.members[places], sets.members[made], config.near_duplicates)
            drop(_marked(shown, places, len(sets)), IN_TRAINING)
        chosen, repeated, blocked = choose(sets, side & (lost < 0), wanted, config.max_per_image)
        lost[repeated], lost[blocked] = REASONS.index(REPEATED), REASONS.index(CAPPED)
        made = np.concatenate([made, chosen])
    made = balanced_order(sets, made, wanted)
    summaries = [
        summarize(config, ctx, candidates, sets, lost, made, number, REASONS)
        for number, (ctx, candidates) in enumerate(proposed)
    ]
    if config.hold_out:
        _check_sides(config, summaries)
    notes = list(decisions.notes)
    if pictures.repeated:
        notes.append(
            f"{pictures.repeated:,} rows of the proposed sets show the picture of another row; they count as one image"
        )
    if of_others:
        belong = "set of the decisions file belongs" if of_others == 1 else "sets of the decisions file belong"
        notes.append(f"{of_others:,} rejected {belong} to other stores or collections")
    return write_mined(config, store, table, sets, made, image_sim, summaries, notes)


def _check_difficulty(proposed: Sequence[tuple[MiningContext, Candidates]]) -> None:
    """Raise ValueError for a difficulty outside 0..1, which is an error in a strategy; null is none."""
    for ctx, candidates in proposed:
        given = candidates.table["difficulty"].drop_null().to_numpy()
        wrong = given[~((given >= 0) & (given <= 1))]
        if len(wrong):
            raise ValueError(f"the strategy {ctx.strategy} gave the difficulty {wrong[0]:g}, which is not within 0..1")


def _check_sides(config: MiningConfig, summaries: Sequence[StrategySummary]) -> None:
    """Raise BadInput where all sets are on one side of the hold-out."""
    for held, name in ((True, "held-out"), (False, "training")):
        own = [each for each in summaries if (each.split == HELD_OUT) == held]
        if not sum(each.made for each in own):
            why = "; ".join(sentence for each in own if (sentence := each.shortfall())) or "the part is too small"
            raise BadInput(
                f"--hold-out {config.hold_out:g} leaves no {name} set ({why}); ask for more sets or for another part"
            )


def _with_forgotten(members: RowIds, store: EmbeddingStore) -> Mask:
    return np.asarray(mark_rows(members, store.forgotten).any(axis=1))


def _count_by_picture(
    sets: Proposals, alive: Mask, store: EmbeddingStore, rejected: frozenset[tuple[int, ...]]
) -> Pictures:
    """The pictures of the rows of the sets that are alive, by which these are compared from now on."""
    others = np.array([row for rows in rejected for row in rows if row < store.rows], np.int64)
    pictures = Pictures(store, np.concatenate([sets.identity[alive].ravel(), others]))
    sets.pictures = sets.identity.copy()
    sets.pictures[alive] = np.sort(pictures.of(sets.identity[alive]), axis=1)
    return pictures


def _rejected_pictures(
    rejected: frozenset[tuple[int, ...]], pictures: Pictures, store: EmbeddingStore
) -> frozenset[tuple[int, ...]]:
    known = [rows for rows in rejected if max(rows) < store.rows]
    found = iter(pictures.of(np.array([row for rows in known for row in rows], np.int64)).tolist())
    return frozenset(tuple(sorted(next(found) for _ in rows)) for rows in known)


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
