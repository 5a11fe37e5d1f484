"""`overlap` beside Spark ML's MinHashLSH.approxSimilarityJoin: time, and recall of the true top pairs.

Run as: python -m benchmarks.mining_peers --half overlap [--quick] [--captions FILE.tsv] [--sizes N ...] [--curve]

`--captions` names a table with a header line and the columns image, caption_no, caption; without it, captions of the
demo's scenes are used. Rows of the length of Localized Narratives' captions are made by joining them: see
benchmarks/caption_store.py.

Both sides start from the same noun lists on disk and write all pairs that they find. The lists are extracted by our
code; that time is printed separately, and the stricter ratio adds it to ours. The task is to find all pairs with at
least c shared nouns, where c is the smallest number for which a row has at most 10 such pairs on average. The truth is
found by brute force for 300 random rows. MinHashLSH gets the Jaccard distance of the farthest true pair as its
threshold, and one hash table, its fastest setting.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.caption_store import captions_store, read_captions, resampled, scene_captions
from jobs.executors.execute import execute
from mining.strategies.captions.noun_join import Join, join_nouns
from mining.strategies.captions.noun_sets import NounSets, make_noun_sets
from mining.strategies.context import MiningConfig, MiningContext
from mining.strategies.overlap import overlap as mine_overlap

Ints = npt.NDArray[np.int64]

SIZES, QUICK_SIZES = (50_000, 100_000, 200_000, 400_000, 873_000), (5_000, 20_000)
PEER_ROWS, QUICK_PEER_ROWS = 50_000, 5_000  # MinHashLSH's time grows with the square
QUERIES = 300
PAIRS_A_ROW = 10
SETS = 10_000
WORKERS = 2
IN_PROCESS = 20_000  # rows up to which starting two workers takes longer than the work


@dataclass(frozen=True)
class Truth:
    """All pairs of the sampled rows that share at least c nouns."""

    least: int  # c
    pairs: frozenset[tuple[int, int]]  # row numbers, the smaller one first
    distance: float  # the largest Jaccard distance among the pairs
    rows: Ints  # the sampled rows [n]


def overlap(
    quick: bool = False, captions: Path | None = None, sizes: Sequence[int] | None = None, *, alone: bool = False
) -> dict[str, float]:
    """All figures; `overlap_recall_over_minhash` is our recall minus that of MinHashLSH. alone: without the peer."""
    texts = read_captions(captions) if captions else scene_captions(400 if quick else 2_000)
    figures: dict[str, float] = {}
    curve: list[tuple[int, float, float]] = []
    peer_rows = QUICK_PEER_ROWS if quick else PEER_ROWS
    for rows in sizes or (QUICK_SIZES if quick else SIZES):
        with tempfile.TemporaryDirectory() as folder:
            ctx = store_of(Path(folder), resampled(texts, rows))
            nouns, mined, join, found = ours(ctx, rows, figures, compare=rows == peer_rows and not alone)
            curve.append((rows, nouns + mined, join))
            if found is not None:
                figures |= peer(ctx, found, nouns, join)
    first, last = curve[0], curve[-1]
    for name, column in (("mining", 1), ("join", 2)) if len(curve) > 1 else ():
        exponent = math.log(last[column] / first[column]) / math.log(last[0] / first[0])
        figures[f"overlap_{name}_growth_exponent"] = round(exponent, 2)
    return figures


def ours(
    ctx: MiningContext, rows: int, figures: dict[str, float], compare: bool
) -> tuple[float, float, float, tuple[Truth, Ints] | None]:
    """Seconds of extracting nouns, of mining `SETS` sets, and of the exact join; and the join's pairs if `compare`."""

    def map_items(function: Callable[[Any, MiningContext], Any], items: Sequence[Any], label: str) -> list[Any]:
        if rows <= IN_PROCESS:
            return [function(item, ctx) for item in items]
        with quiet():
            return execute("local", function, items, ctx, workers=WORKERS, shared=None, label=label)

    with timed() as nouns:
        sets = make_noun_sets(ctx, map_items)
    with timed() as mined:
        candidates = mine_overlap(ctx, map_items)
    truth = true_pairs(sets)
    with timed() as join:
        joined = join_nouns(ctx, map_items, sets, Join("exact", truth.least, 1.0, 1, 1 << 40))
    pairs = joined.pairs[:, :2]
    hit = len(truth.pairs & sampled(pairs, truth.rows)) / max(len(truth.pairs), 1)
    share = joined.largest_task / sets.count
    print(
        f"{rows:>7,} captions: nouns {nouns[0]:.1f} s, {candidates.table.num_rows:,} proposals for {SETS:,} sets "
        f"{mined[0]:.1f} s; all {len(pairs):,} pairs of >= {truth.least} nouns {join[0]:.1f} s, recall {hit:.4f}, "
        f"largest task {share:.1%} of the captions, {joined.lost:,} pairs of long lists not compared",
        flush=True,
    )
    figures |= {
        f"overlap_nouns_seconds_{rows}": round(nouns[0], 1),
        f"overlap_mining_seconds_{rows}": round(mined[0], 1),
        f"overlap_join_seconds_{rows}": round(join[0], 1),
        f"overlap_recall_{rows}": round(hit, 4),
        f"overlap_largest_task_share_{rows}": round(share, 4),
    }
    return nouns[0], mined[0], join[0], (truth, pairs) if compare else None


def peer(ctx: MiningContext, found: tuple[Truth, Ints], nouns: float, join: float) -> dict[str, float]:
    """MinHashLSH on the same noun lists: its seconds without the start of Spark, its recall, and the ratios."""
    from pyspark.ml.feature import CountVectorizer, MinHashLSH
    from pyspark.sql import SparkSession

    truth, pairs = found
    sets = NounSets(f"{ctx.folder}/nouns")
    folder = Path(ctx.folder)
    offsets, ranks = sets.ranks(np.arange(sets.count))
    words = sets.nouns.take(pa.array(ranks)).combine_chunks()
    lists = pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), words)
    kept = np.flatnonzero(np.diff(offsets) > 0)  # MinHashLSH refuses empty sets
    pq.write_table(pa.table({"id": pa.array(kept), "nouns": lists.take(pa.array(kept))}), folder / "peer.parquet")
    spark = (
        SparkSession.builder.master(f"local[{WORKERS}]")
        .config("spark.driver.memory", "8g")
        .config("spark.sql.shuffle.partitions", str(4 * WORKERS))
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.local.dir", ctx.folder)
        .getOrCreate()
    )
    try:
        with timed() as seconds:
            table = spark.read.parquet(str(folder / "peer.parquet")).repartition(4 * WORKERS)
            vectors = CountVectorizer(inputCol="nouns", outputCol="v", binary=True).fit(table).transform(table)
            model = MinHashLSH(inputCol="v", outputCol="h", numHashTables=1, seed=0).fit(vectors)
            joined = model.approxSimilarityJoin(vectors, vectors, truth.distance + 1e-6, "distance")
            ids = joined.selectExpr("datasetA.id as a", "datasetB.id as b").where("a < b")
            ids.write.parquet(str(folder / "peer_pairs"))
    finally:
        spark.stop()
    table = pq.read_table(folder / "peer_pairs", columns=["a", "b"])
    theirs = sampled(np.stack([table["a"].to_numpy(), table["b"].to_numpy()], axis=1), truth.rows)
    recall = len(truth.pairs & theirs) / max(len(truth.pairs), 1)
    ours_recall = len(truth.pairs & sampled(pairs, truth.rows)) / max(len(truth.pairs), 1)
    print(
        f"{sets.count:>7,} captions, MinHashLSH: {seconds[0]:.1f} s, recall {recall:.4f} "
        f"(distance {truth.distance:.2f}); "
        f"ours {join:.1f} s, recall {ours_recall:.4f}; with the nouns {nouns + join:.1f} s",
        flush=True,
    )
    return {
        "overlap_minhash_seconds": round(seconds[0], 1),
        "overlap_minhash_recall": round(recall, 4),
        "overlap_recall": round(ours_recall, 4),
        "overlap_recall_over_minhash": round(ours_recall - recall, 4),
        "overlap_times_faster": round(seconds[0] / join, 1),
        "overlap_times_faster_with_nouns": round(seconds[0] / (nouns + join), 1),
        "overlap_compared_at": float(sets.count),
    }


def true_pairs(sets: NounSets) -> Truth:
    """The true pairs by brute force over inverted lists, without the join's code."""
    offsets, ranks = sets.ranks(np.arange(sets.count))
    sizes = np.diff(offsets)
    captions = sets.take("captions", np.arange(sets.count))
    owners = np.repeat(np.arange(sets.count), sizes)
    order = np.argsort(ranks, kind="stable")
    starts = np.searchsorted(ranks[order], np.arange(len(sets.nouns) + 1))
    lists = owners[order]
    rows = np.sort(np.random.default_rng(0).choice(sets.count, min(QUERIES, sets.count), replace=False))
    names = sets.nouns.to_pylist()
    found: list[tuple[int, Ints, Ints, Ints]] = []
    for row in rows.tolist():
        shared, once = np.zeros(sets.count, np.int64), np.zeros(sets.count, np.int64)
        own = ranks[offsets[row] : offsets[row + 1]].tolist()
        for noun in own:
            there = np.zeros(sets.count, np.bool_)
            there[lists[starts[noun] : starts[noun + 1]]] = True
            shared += there
            for whole in own:  # a word of a compound that is shared too does not count beside it
                if whole != noun and f" {names[noun]} " in f" {names[whole]} ":
                    there[lists[starts[whole] : starts[whole + 1]]] = False
            once += there
        once[captions == captions[row]] = 0  # itself, and the same text
        others = np.flatnonzero(once >= 3)
        found.append((row, others, once[others], shared[others]))
    counts = np.bincount(np.concatenate([once for _, _, once, _ in found]), minlength=65)
    above = np.cumsum(counts[::-1])[::-1]
    least = max(3, int(np.argmax(above <= PAIRS_A_ROW * len(rows))))
    pairs, distance = set(), 0.0
    for row, others, once, shared in found:
        near = once >= least
        union = sizes[row] + sizes[others[near]] - shared[near]
        distance = max(distance, *(1 - shared[near] / union).tolist(), 0.0)
        pairs |= {(min(row, other), max(row, other)) for other in others[near].tolist()}
    return Truth(least, frozenset(pairs), distance, rows)


def sampled(pairs: Ints, rows: Ints) -> set[tuple[int, int]]:
    """The pairs [n, 2] that contain one of `rows`."""
    some = pairs[np.isin(pairs, rows).any(axis=1)]
    return {(a, b) for a, b in some.tolist()}


def store_of(folder: Path, texts: list[str]) -> MiningContext:
    """A store that has these captions, and the mining of it."""
    captions_store(folder / "store", texts)
    config = MiningConfig(str(folder / "store"), str(folder / "out"), (("overlap", 1.0),), sets=SETS)
    (folder / "work").mkdir()
    return MiningContext(config, "overlap", SETS, str(folder / "work"))


@contextlib.contextmanager
def timed() -> Iterator[list[float]]:
    """Measure the block: its seconds are in the list once the block has ended."""
    seconds = [0.0]
    started = time.perf_counter()
    yield seconds
    seconds[0] = time.perf_counter() - started


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress progress lines."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield
