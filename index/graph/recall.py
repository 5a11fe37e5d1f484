"""Measures an index's recall against exact search, as a curve over efSearch, and chooses the efSearch for searches.

The result is the recall contract. recall@k is the share of the k exact results that the index returns. The queries are
captions, since users search with texts. Text vectors lie apart from the image vectors of an image index, so recall
measured with image queries would be too high.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from index.errors import StoreInvalid
from index.graph.exact import best_device, exact_top_k
from index.graph.hnsw import usable_rows
from index.graph.measure_visits import choose_visits
from index.graph.query_captions import query_step
from index.graph.recall_contract import CurvePoint, RecallContract, Stratum
from index.graph.search_index import HnswIndex
from index.graph.shard import drop_own_row
from index.graph.strata import hard_queries
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["EF_SEARCH", "measure_recall", "recall_at", "sample_queries"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]

# Each value is about 1.4 times the last one up to 256, where most indexes reach the recall asked for. Beyond it is 2
# times the last one, since large values take the most time to measure.
EF_SEARCH = (16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)
KS = (10, 100)
# When recall@10 and @100 are both this high, the curve ends: a larger efSearch takes longer and finds nothing more.
_SATURATED = 0.999
# Hard queries may raise efSearch to so many times what captions need, so that few of them do not slow down all others.
_RAISED = 4
_BLOCK_ROWS = 65_536
# The score of the same query and row differs in the last bits between faiss and torch.
_SAME_SCORE = 2e-6
# Rows drawn for each query that is asked for: the next number where too few of them have a direction of their own.
_DRAWS = (2, 16, 128)


def sample_queries(
    store: EmbeddingStore, modality: Modality, count: int, seed: int, step: int = 1
) -> tuple[RowIds, Floats]:
    """Up to `count` rows drawn by `seed`, ascending, with their fp32 vectors [n, d]; never zero or non-finite ones.

    Of equal vectors, one is taken: a caption that a thousand images have is one question.

    step: only rows that are multiples of it are drawn.
    """
    among = -(-store.rows // step)
    # More rows than asked for, since some may be forgotten or have no caption; all rows of a small store.
    found = 0
    for often in _DRAWS:
        generator = np.random.Generator(np.random.PCG64(seed))
        draw = often * count
        has_all = among <= 2 * draw
        drawn = (generator.permutation(among) if has_all else _draw(generator, among, draw)) * step
        vectors = np.asarray(store.gather(modality, drawn), np.float32)
        usable = np.flatnonzero(usable_rows(vectors))
        # Compared as bytes: `np.unique(axis=0)` compares number by number, which takes ten times as long.
        whole = vectors[usable].view(np.dtype((np.void, vectors.itemsize * store.dim)))[:, 0]
        _, first = np.unique(whole, return_index=True)
        usable = usable[np.sort(first)[:count]]
        if has_all or len(usable) == count or len(usable) < 1.2 * found:  # the store hardly has others
            break
        found = len(usable)
    order = usable[np.argsort(drawn[usable])]
    return drawn[order], vectors[order]


def _draw(generator: np.random.Generator, rows: int, count: int) -> RowIds:
    """Distinct rows in random order, without a permutation of all rows (there may be 400 M)."""
    drawn = np.unique(generator.integers(0, rows, 2 * count, dtype=np.int64))
    generator.shuffle(drawn)
    return drawn[:count]


def measure_recall(
    index: HnswIndex,
    *,
    recall: float,
    queries: int,
    seed: int,
    efs: tuple[int, ...] = EF_SEARCH,
    on_progress: Callable[[int, int], None] | None = None,
) -> RecallContract:
    """Compare the index with an exact scan on `queries` captions and on hard queries, and choose efSearch.

    The queries of a text index are captions that it holds, so each query's own row is dropped from both results. A row
    whose score ties with the k-th exact one is a hit. If no efSearch reaches `recall`, the contract has `met` false and
    the smallest efSearch that reached the best recall.

    on_progress(done, total) is called after the exact scan and after each efSearch.

    Raises:
        StoreInvalid: the store has no usable vector to query with.
    """
    store, steps = index.store, len(efs) + 1
    report = on_progress or (lambda done, total: None)
    asked_with: Modality = "text" if store.has_text else "image"
    step = query_step(store, asked_with, index.modality)
    own, vectors = sample_queries(store, asked_with, queries, seed, step)
    if not len(own) and index.modality == "image" and asked_with == "text":  # too few rows have a caption
        asked_with, step = "image", 1
        own, vectors = sample_queries(store, asked_with, queries, seed, step)
    if not len(own):
        raise StoreInvalid(f"{store.path}: has no usable {asked_with} vector to measure recall with")
    forgotten = len(store.forgotten)
    same = asked_with == index.modality
    strata = hard_queries(index, max(queries // 5, 20), seed)
    truth_k = min(KS[-1] + same, store.rows)
    blocks = store.blocks(index.modality, _BLOCK_ROWS)
    every = np.concatenate([vectors, *(some for _, some in strata)])
    truth, truth_ids = exact_top_k(blocks, every, truth_k, device=best_device())
    bounds = np.cumsum([len(vectors), *(len(some) for _, some in strata)])
    hard = [truth[start:stop] for start, stop in itertools.pairwise(bounds)]
    truth, truth_ids = truth[: len(vectors)], truth_ids[: len(vectors)]
    if same:
        truth, truth_ids = drop_own_row(truth, truth_ids, own)
    report(1, steps)

    def shares(ef: int, *ks: int) -> list[float]:
        # A search of the graph depends on efSearch and not on k, so its 10 best are the first of its 100 best.
        scores, ids = index.search(vectors, min(ks[-1] + same, store.rows), ef)
        if same:
            scores, _ = drop_own_row(scores, ids, own)
        return [round(recall_at(truth, scores, k), 6) for k in ks]

    def hard_shares(ef: int) -> list[float]:
        found = (index.search(some, min(KS[0], store.rows), ef)[0] for _, some in strata)
        return [round(recall_at(exact, scores, KS[0]), 6) for exact, scores in zip(hard, found, strict=True)]

    visits = None
    if index.visits is not None:
        visits = choose_visits(index.visits, vectors, truth_ids, recall, efs, lambda ef: shares(ef, KS[0])[0])
    curve: list[CurvePoint] = []
    hard_curve: list[list[float]] = []
    for done, ef in enumerate(efs, start=1):
        if ef > KS[-1]:
            at_10, at_100 = shares(ef, *KS)
        else:
            at_10 = shares(ef, KS[0])[0]
            at_100 = curve[-1].recall_at_100 if curve else shares(KS[-1], KS[-1])[0]
        curve.append(CurvePoint(ef, at_10, at_100))
        hard_curve.append(hard_shares(ef))
        report(done + 1, steps)
        if min([at_10, *hard_curve[-1]]) >= max(recall, _SATURATED) and at_100 >= _SATURATED:
            report(steps, steps)
            break
    chosen = _choose(curve, hard_curve, recall)
    counted = int(np.isfinite(truth).sum(axis=1).max(initial=0))
    return RecallContract(
        asked=recall,
        met=chosen.recall_at_10 >= recall,
        ef_search=chosen.ef_search,
        query_modality=asked_with,
        queries=len(own),
        queries_asked=queries,
        seed=seed,
        neighbours=(min(KS[0], counted), min(KS[1], counted)),
        curve=tuple(curve),
        strata=tuple(
            Stratum(name, len(some), tuple(each[place] for each in hard_curve))
            for place, (name, some) in enumerate(strata)
        ),
        forgotten=forgotten,
        visits=visits,
    )


def _choose(curve: list[CurvePoint], hard: list[list[float]], recall: float) -> CurvePoint:
    """The least efSearch that reaches `recall`, or the best one.

    A larger one, up to _RAISED times as large, where that brings the hard queries to `recall` too.
    """
    best = max(point.recall_at_10 for point in curve)
    chosen = next(point for point in curve if point.recall_at_10 >= min(recall, best))
    for point, shares in zip(curve, hard, strict=True):
        enough = point.recall_at_10 >= min(recall, best) and min(shares, default=1.0) >= recall
        if enough and chosen.ef_search <= point.ef_search <= _RAISED * chosen.ef_search:
            return point
    return chosen


def recall_at(truth: Floats, found: Floats, k: int) -> float:
    """recall@k by scores: the share of the k best exact scores that the found rows reach, averaged over the queries.

    Args:
        truth: exact scores [q, >= k] in descending order; -inf, which is not counted, where the store has no more rows.
        found: the scores [q, n] of the distinct rows that were returned; the first k count.
    """
    exact = truth[:, :k]
    wanted = np.isfinite(exact).sum(axis=1)
    asked = wanted > 0
    if not asked.any():
        return 1.0
    last = exact[np.arange(len(exact)), np.maximum(wanted, 1) - 1]
    hits = (found[:, :k] >= last[:, None] - _SAME_SCORE) & np.isfinite(found[:, :k])
    return float(np.mean(np.minimum(hits.sum(axis=1), wanted)[asked] / wanted[asked]))
