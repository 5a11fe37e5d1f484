"""Choose between the HNSW index and an exact scan for a search, by estimated time, and say why in one sentence.

A search of an HNSW graph takes about as long for a million rows as for a hundred thousand, but its time grows with
efSearch, which is at least K, and with the number of queries. An exact scan reads every row once for all queries,
whatever K is. A scan is therefore faster for many queries with a large K. Rows that were added to the store since the
index was built are compared one by one in either case. What is not in memory is read from the disk: a walk reads pages
here and there, a scan all of it in order. Excluded rows make walks longer. No store and no index is opened here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from index.errors import BadInput
from index.graph.disk import PAGE
from index.graph.filtered import first_beam
from index.graph.machine import MachineRates
from index.sizes import show_bytes
from retrieval.search.conditions import IN_MEMORY, Conditions

__all__ = ["IndexCost", "Method", "SearchPlan", "plan_search"]

Method = Literal["hnsw", "exact"]

# Half of an H200's 67 TFLOP/s in fp32 (NVIDIA's data sheet), and the bytes that PCIe 5.0 brings to it in a second, half
# of its 64 GB/s. No GPU was measured.
_GPU_FLOPS, _GPU_BYTES = 33e12, 32e9
# Vectors that a walk compares: on 100,000 x 512, M 32, 900 to 1,400 at efSearch 48 to 96. Each is read with its links.
_COMPARED, _COMPARED_PER_EF, _PAGES_A_NODE = 300, 15, 2


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
    conditions: Conditions = IN_MEMORY,
    kept: float = 1.0,
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
        conditions: rates of the machine, and what must be read from its disk.
        kept: share of the rows that filters leave over.

    Raises:
        BadInput: an unknown method, or "hnsw" without an index.
    """
    if method is not None and method not in get_args(Method):
        raise BadInput(f"unknown search method {method!r}: choose hnsw or exact")
    passes = -(-queries // at_once) if at_once else 1
    rates = conditions.rates
    exact = _exact_seconds(rows, dim, queries, k, device, cores, passes, rates)
    read = passes * conditions.cold_rows / rates.disk.bytes_a_second
    scan = f"{_scans(passes)} of {rows:,} rows for {_queries(queries)} about {_show(max(exact, read))}"
    scan += _from_disk(read, conditions.cold_rows)
    exact = max(exact, read)  # rows are read ahead
    if index is None:
        if method == "hnsw":
            raise BadInput("the method hnsw needs an index: run `clipmine index` first, or use the method exact")
        reason = "as asked" if method else "there is no index"
        return SearchPlan("exact", f"{reason}: {scan}", None, None, exact)
    ef = max(ef_search or index.ef_search, k)
    beam = ef if kept >= 1 else first_beam(k, ef, 1 - kept)
    hnsw = _hnsw_seconds(rows - index.tail_rows, dim, queries, beam, index, cores, rates)
    if index.tail_rows:
        hnsw += _exact_seconds(index.tail_rows, dim, queries, k, "cpu", cores, passes, rates)
    read = _read_seconds(queries, beam, index, cores, conditions)
    hnsw += read
    tail = f" and past {index.tail_rows:,} rows that are not indexed yet" if index.tail_rows else ""
    walk = f"{_queries(queries)} through {_graphs(index)} at efSearch {ef:,}"
    if beam > ef:
        walk += f", {beam:,} since {1 - kept:.0%} of the rows are excluded"
    walk += f"{tail} take about {_show(hnsw)}{_from_disk(read, conditions.cold_index)}"
    chosen: Method = "exact" if (method == "exact" or (method is None and exact < hnsw)) else "hnsw"
    reason = "as asked" if method else "estimated faster"
    costs = f"{walk}, {scan}" if chosen == "hnsw" else f"{scan}, {walk}"
    if rates.processor:
        costs += f", by rates measured on {rates.processor}"
    return SearchPlan(chosen, f"{reason}: {costs}", ef if chosen == "hnsw" else None, hnsw, exact)


def _exact_seconds(
    rows: int, dim: int, queries: int, k: int, device: str, cores: int, passes: int, rates: MachineRates
) -> float:
    gpu = device.startswith("cuda")
    read = passes * rows * dim * 2 / (min(_GPU_BYTES, rates.scan_bytes * cores) if gpu else rates.scan_bytes)
    products = 2.0 * rows * dim * queries / (_GPU_FLOPS if gpu else rates.flops * cores)
    return read + products + rates.keep_seconds * queries * min(k, rows)


def _hnsw_seconds(
    rows: int, dim: int, queries: int, ef: int, index: IndexCost, cores: int, rates: MachineRates
) -> float:
    # A query searches one shard in one thread. Other queries and other shards are searched at the same time.
    walks = _walks(queries, index)
    return rates.walk(rows / index.shards, dim, ef) * max(walks / cores, 1)


def _walks(queries: int, index: IndexCost) -> float:
    return queries * (index.shards if index.visited is None else max(index.visited, 1.0))


def _read_seconds(queries: int, ef: int, index: IndexCost, cores: int, conditions: Conditions) -> float:
    """Seconds in which walks wait for pages that are not in memory; a page that was read stays there."""
    if not conditions.cold_index:
        return 0.0
    share = conditions.cold_index / conditions.index_bytes
    walks = _walks(queries, index)
    touched = walks * (_COMPARED + _COMPARED_PER_EF * ef) * _PAGES_A_NODE * share
    pages = min(touched, conditions.cold_index / PAGE)
    return pages * conditions.rates.disk.page_seconds / min(cores, max(walks, 1))


def _from_disk(seconds: float, cold: int) -> str:
    return f" ({show_bytes(cold)} are not in memory: {_show(seconds)} of reads)" if cold else ""


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
