"""Choose between the HNSW index and an exact scan for a search, by estimated time, and say why in one sentence.

A search of an HNSW graph takes about as long for a million rows as for a hundred thousand, but its time grows with
efSearch, which is at least K, and with the number of queries. An exact scan reads every row once for all queries,
whatever K is. A scan is therefore faster for many queries with a large K. Rows that were added to the store since the
index was built are compared one by one in either case. No store and no index is opened here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from index.errors import BadInput

__all__ = ["IndexCost", "Method", "SearchPlan", "plan_search"]

Method = Literal["hnsw", "exact"]

# HNSW fp16, M 32, 100,000 x 512, text->image queries on two cores of an AVX-512 server: 5,680 queries/s at efSearch 64,
# 3,208 at 128, 1,818 at 256. A line through them: 80 us of one core per query, and 4.2 us more per unit of efSearch.
_WALK_SECONDS, _WALK_SECONDS_PER_EF = 80e-6, 4.2e-6
_WALK_ROWS, _WALK_DIM = 100_000, 512
# Matrix products in fp32: 137 GFLOP/s on the same two cores. A GPU: half of an H200's 67 TFLOP/s (NVIDIA's data sheet).
_CPU_FLOPS, _GPU_FLOPS = 68e9, 33e12
# Bytes per second: 100,000 x 512 in fp16 were read, widened and compared with one query in 0.1 s.
# Rows on a disk take at least as long.
_READ_BYTES = 1e9
# To keep a query's K best rows: 1,000 queries with K 1,000 took 0.9 s longer than with K 50.
_KEEP_SECONDS = 1e-6


@dataclass(frozen=True)
class IndexCost:
    """What the planner needs of an index.

    shards: its graphs; ef_search: its recall contract's; tail_rows: rows that were added to the store since, which each
    search compares one by one; visited: graphs that each query searches on average, None for all of them.
    """

    shards: int
    ef_search: int
    tail_rows: int = 0
    visited: float | None = None


@dataclass(frozen=True)
class SearchPlan:
    """How a search is done. why: one line. ef_search: None for exact. hnsw_seconds, exact_seconds: the estimates;
    hnsw_seconds is None where there is no index."""

    method: Method
    why: str
    ef_search: int | None
    hnsw_seconds: float | None
    exact_seconds: float

    @property
    def seconds(self) -> float:
        """The estimate for the chosen method."""
        return self.exact_seconds if self.method == "exact" or self.hnsw_seconds is None else self.hnsw_seconds


def plan_search(
    rows: int,
    dim: int,
    queries: int,
    k: int,
    index: IndexCost | None,
    device: str = "cpu",
    *,
    cores: int = 1,
    method: str | None = None,
    ef_search: int | None = None,
    at_once: int | None = None,
) -> SearchPlan:
    """Choose between the index and an exact scan.

    Args:
        rows, dim: number of rows of the store, and length of a vector.
        queries, k: number of queries, and rows for each.
        index: None when the store has no index of the modality.
        device: where a scan would run; the index is searched on the CPU.
        cores: CPU cores that may be used.
        method: "hnsw" or "exact", used whatever the estimates are; None: the one with the lower estimate.
        ef_search: used instead of the recall contract's.
        at_once: queries that one pass over the rows answers; all by default. More queries need several passes.

    Raises:
        BadInput: an unknown method, or "hnsw" without an index.
    """
    if method is not None and method not in get_args(Method):
        raise BadInput(f"unknown search method {method!r}: choose hnsw or exact")
    passes = -(-queries // at_once) if at_once else 1
    exact = _exact_seconds(rows, dim, queries, k, device, cores, passes)
    scan = f"{_scans(passes)} of {rows:,} rows for {_queries(queries)} about {_show(exact)}"
    if index is None:
        if method == "hnsw":
            raise BadInput("the method hnsw needs an index: run `clipmine index` first, or use the method exact")
        reason = "as asked" if method else "there is no index"
        return SearchPlan("exact", f"{reason}: {scan}", None, None, exact)
    ef = max(ef_search or index.ef_search, k)
    hnsw = _hnsw_seconds(rows - index.tail_rows, dim, queries, ef, index, cores)
    if index.tail_rows:
        hnsw += _exact_seconds(index.tail_rows, dim, queries, k, "cpu", cores, passes)
    tail = f" and past {index.tail_rows:,} rows that are not indexed yet" if index.tail_rows else ""
    walk = f"{_queries(queries)} through {_graphs(index)} at efSearch {ef:,}{tail} take about {_show(hnsw)}"
    chosen: Method = "exact" if (method == "exact" or (method is None and exact < hnsw)) else "hnsw"
    reason = "as asked" if method else "estimated faster"
    costs = f"{walk}, {scan}" if chosen == "hnsw" else f"{scan}, {walk}"
    return SearchPlan(chosen, f"{reason}: {costs}", ef if chosen == "hnsw" else None, hnsw, exact)


def _exact_seconds(rows: int, dim: int, queries: int, k: int, device: str, cores: int, passes: int) -> float:
    flops = _GPU_FLOPS if device.startswith("cuda") else _CPU_FLOPS * cores
    return (
        passes * rows * dim * 2 / _READ_BYTES
        + 2.0 * rows * dim * queries / flops
        + _KEEP_SECONDS * queries * min(k, rows)
    )


def _hnsw_seconds(rows: int, dim: int, queries: int, ef: int, index: IndexCost, cores: int) -> float:
    # The steps to reach the neighbourhood grow with the logarithm of the rows, the steps within it with efSearch.
    steps = math.log(max(rows / index.shards, 100)) / math.log(_WALK_ROWS)
    walk = (_WALK_SECONDS + _WALK_SECONDS_PER_EF * ef) * steps * dim / _WALK_DIM
    # A query searches one shard in one thread. Other queries and other shards are searched at the same time.
    walks = queries * (index.shards if index.visited is None else max(index.visited, 1.0))
    return walk * max(walks / cores, 1)


def _queries(count: int) -> str:
    return "1 query" if count == 1 else f"{count:,} queries"


def _scans(count: int) -> str:
    return "one exact scan" if count == 1 else f"{count:,} exact scans"


def _graphs(index: IndexCost) -> str:
    if index.shards == 1:
        return "the graph"
    return f"{index.shards:,} graphs" if index.visited is None else f"{index.visited:,.1f} of {index.shards:,} graphs"


def _show(seconds: float) -> str:
    if seconds < 0.995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 7_200:
        return f"{seconds:.3g} s" if seconds < 120 else f"{seconds / 60:,.0f} min"
    return f"{seconds / 3600:,.0f} h"
