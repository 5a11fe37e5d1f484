"""The sets of each individual: the second half of `identity`, a task a bucket of names.

Without an order the rows of an individual are shuffled and cut into sets; with a context to differ, they are dealt so
that neighbours have different contexts. With an order they are windows of consecutive steps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.files import exists, join, read_bytes, write_atomic
from index.hashing import hash_rows
from mining.strategies.bands import rank_in_groups
from mining.strategies.context import CANDIDATES_SCHEMA, HELD_OUT, MiningContext, candidates_table, sentences
from mining.strategies.individual_rows import read_bucket
from mining.strategies.minable import Side, holds_out_individuals
from mining.strategies.neighbors.work_arrays import read_table, write_table

__all__ = ["BucketItem", "Made", "cut_sets", "deal_sets", "make_sets", "read_sets", "step_windows"]

RowIds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BucketItem:
    """The names of one bucket, in the lists of all ranges.

    turns: how often an individual's rows are cut into sets. keep: the share of the sets that is kept.
    """

    name: str
    bucket: int
    ranges: tuple[str, ...]
    turns: int
    keep: float


@dataclass(frozen=True)
class Made:
    """Counts of a bucket, in (row, individual) pairs.

    alone: of individuals in too few rows for a set. one_step: of stories of one step. other_side: of individuals that a
    hold-out puts on the other side.
    """

    alone: int
    one_step: int
    other_side: int


def make_sets(item: BucketItem, ctx: MiningContext) -> Made:
    """Write the sets of a bucket's individuals; returns the counts."""
    marker = join(ctx.folder, f"sets_{item.name}.json")
    if exists(marker):
        return Made(**json.loads(read_bytes(marker)))
    config = ctx.config
    table, other_side = _own_side(ctx, read_bucket(ctx, item.ranges, item.bucket))
    names = table["entity"].combine_chunks().dictionary_encode()
    entity, rows = names.indices.to_numpy().astype(np.int64), table["row"].to_numpy()
    place = _order(table)
    # Places in `entity` and `rows`, sets of one size a piece.
    pieces: list[RowIds] = []
    one_step = 0
    if config.order:
        steps = _steps(entity, place)
        one_step = int((steps[entity] == 1).sum())
        alone = 0
    else:
        times = np.bincount(entity, minlength=len(names.dictionary))
        alone = int((times[entity] < config.set_size).sum())
    context = table["context"].combine_chunks().dictionary_encode().indices.fill_null(0).to_numpy().astype(np.int64)
    for turn in range(item.turns):
        seed = config.seed * 1_000 + turn
        if config.order:
            found = step_windows(entity, place, rows, config.set_size, seed)
            if config.context:
                found = [each[_all_differ(context[each])] for each in found]
        elif config.context:
            found = [deal_sets(entity, context, rows, config.set_size, seed)]
        else:
            found = [cut_sets(entity, rows, config.set_size, seed)]
        pieces += [_distinct(each, rows, config.seed, item.keep) for each in found]
    tables = [CANDIDATES_SCHEMA.empty_table()]
    for size in sorted({each.shape[1] for each in pieces}):
        some = np.concatenate([each for each in pieces if each.shape[1] == size])
        if not config.order:
            some = np.take_along_axis(some, np.argsort(rows[some], axis=1), axis=1)
        some = _distinct(some, rows, config.seed, item.keep)
        tables.append(_as_candidates(ctx, some, table, names.dictionary.take(pa.array(entity[some[:, 0]]))))
    write_table(ctx, f"sets_{item.name}.parquet", pa.concat_tables(tables))
    made = Made(alone, one_step, other_side)
    write_atomic(marker, json.dumps(made.__dict__))
    return made


def read_sets(ctx: MiningContext, item: BucketItem) -> pa.Table:
    """The sets that `make_sets` wrote for a bucket: CANDIDATES_SCHEMA without levels."""
    return read_table(ctx, f"sets_{item.name}.parquet", CANDIDATES_SCHEMA)


def cut_sets(entity: RowIds, rows: RowIds, size: int, seed: int) -> RowIds:
    """int64 [n, size]: places of the members of sets: the rows of each individual, shuffled and cut into sets."""
    shuffled = np.lexsort((hash_rows(rows[:, None], seed), entity))
    return _whole_sets(shuffled, entity, size)


def deal_sets(entity: RowIds, context: RowIds, rows: RowIds, size: int, seed: int) -> RowIds:
    """int64 [n, size]: places of the members of sets, whose contexts all differ.

    One row of each context of an individual is dealt, then a second of each that has one, and so on; the contexts of a
    round come in a seeded order of its own. The rows are cut into sets in that order.
    """
    by_context = np.lexsort((hash_rows(rows[:, None], seed), context, entity))
    turn = np.empty(len(rows), np.int64)
    turn[by_context] = rank_in_groups(_group(entity[by_context], context[by_context]))
    chance = hash_rows(np.stack([context, turn], axis=1), seed)
    sets = _whole_sets(np.lexsort((chance, turn, entity)), entity, size)
    return sets[_all_differ(context[sets])]


def step_windows(entity: RowIds, place: RowIds, rows: RowIds, size: int, seed: int) -> list[RowIds]:
    """Places of the members of windows of `size` consecutive steps of each story, int64 [n, size]; and for each shorter
    length from 2 the stories of so many steps, int64 [n, length].

    place: the rank of each row's step. Of several images of a step the seed takes one.
    """
    order = np.lexsort((hash_rows(rows[:, None], seed), place, entity))
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(entity[order]) != 0) | (np.diff(place[order]) != 0)
    steps = order[new]
    story = entity[steps]
    rank = rank_in_groups(story)
    length = np.bincount(story, minlength=int(story.max(initial=-1)) + 1)[story] if len(story) else story
    found = []
    for width in range(2, size + 1):
        starts = np.flatnonzero((rank + width <= length) if width == size else (rank == 0) & (length == width))
        found.append(steps[starts[:, None] + np.arange(width)])
    return found


def _whole_sets(ordered: RowIds, entity: RowIds, size: int) -> RowIds:
    """int64 [n, size]: `ordered` places, those of an individual together, cut into sets without the remainders."""
    own = entity[ordered]
    rank = rank_in_groups(own)
    times = np.bincount(own, minlength=int(own.max(initial=-1)) + 1)[own] if len(own) else own
    sets: RowIds = ordered[rank < times // size * size].reshape(-1, size)
    return sets


def _distinct(sets: RowIds, rows: RowIds, seed: int, keep: float) -> RowIds:
    """The sets [n, m] without repeats of a set and without sets that have a row twice; of these the share `keep`."""
    ascending = np.sort(rows[sets], axis=1)
    _, first = np.unique(ascending, axis=0, return_index=True)
    chosen = np.sort(first)
    chosen = chosen[(np.diff(ascending[chosen], axis=1) > 0).all(axis=1)]
    limit = np.uint64(int(keep * float((1 << 63) - 1)))
    kept: RowIds = sets[chosen[(hash_rows(ascending[chosen], seed) >> np.uint64(1)) <= limit]]
    return kept


def _as_candidates(ctx: MiningContext, sets: RowIds, table: pa.Table, entities: pa.Array) -> pa.Table:
    config = ctx.config
    rows = table["row"].to_numpy()
    reasons = [sentences(f"the same {config.entity}: {{}}", entities)]
    if config.order:
        shown = _shown_order(table.take(pa.array(sets.ravel())))
        reasons.append(_listed(f"consecutive in {config.order}: {{}}", shown, sets.shape[1]))
    if config.context:
        shown = table["context"].take(pa.array(sets.ravel())).to_pylist()
        reasons.append(_listed(f"different {config.context}: {{}}", shown, sets.shape[1]))
    return candidates_table(rows[sets], reasons=reasons, entity=entities)


def _listed(pattern: str, shown: list[str], size: int) -> pa.Array:
    """String array [n]: the pattern with the values of each set, of which `shown` [n * size] are `size` each."""
    starts = range(0, len(shown), size)
    return pa.array([pattern.format(", ".join(shown[start : start + size])) for start in starts], "string")


def _own_side(ctx: MiningContext, table: pa.Table) -> tuple[pa.Table, int]:
    """The rows of individuals on this side, where a hold-out is of individuals; and how many rows that leaves out."""
    if ctx.split is None or not holds_out_individuals(ctx.config):
        return table, 0
    side = Side(ctx.config.hold_out, ctx.split == HELD_OUT)
    names = table["entity"].combine_chunks().dictionary_encode()
    here = np.array([side.contains_name(name) for name in names.dictionary.to_pylist()], np.bool_)
    own = here[names.indices.to_numpy()]
    return table.filter(pa.array(own)), int((~own).sum())


def _all_differ(values: RowIds) -> npt.NDArray[np.bool_]:
    """bool [n]: the rows of `values` [n, m] without equal values."""
    return np.asarray((np.diff(np.sort(values, axis=1), axis=1) > 0).all(axis=1))


def _group(one: RowIds, other: RowIds) -> RowIds:
    """int64 [n]: a number for each run of equal (one, other)."""
    new = (np.diff(one) != 0) | (np.diff(other) != 0)
    return np.r_[0, np.cumsum(new)].astype(np.int64) if len(one) else one


def _order(table: pa.Table) -> RowIds:
    """int64 [n]: the rank of each row's value of `order`; equal values have equal ranks."""
    if not table.num_rows:
        return np.empty(0, np.int64)
    words = table["word"].combine_chunks().fill_null("").to_numpy(zero_copy_only=False).astype(str)
    numbers = np.nan_to_num(table["number"].to_numpy(), nan=np.inf)
    _, word_place = np.unique(words, return_inverse=True)
    _, place = np.unique(np.stack([numbers, word_place], axis=1), axis=0, return_inverse=True)
    found: RowIds = np.asarray(place).reshape(-1).astype(np.int64)
    return found


def _steps(entity: RowIds, place: RowIds) -> RowIds:
    """int64 [individuals]: the number of different steps of each."""
    pairs = np.unique(np.stack([entity, place], axis=1), axis=0)
    return np.bincount(pairs[:, 0], minlength=int(entity.max(initial=-1)) + 1)


def _shown_order(table: pa.Table) -> list[str]:
    return [
        word if word is not None else f"{number:g}"
        for word, number in zip(table["word"].to_pylist(), table["number"].to_pylist(), strict=True)
    ]
