"""What a retrieval would cost: how it is searched, in how many pieces, core hours, reads and bytes in between.

Only the lists of the store and of its index are read. The number of rows may be another one than the store's, to plan
for a corpus that is not embedded yet with a small store of the same model. The times are the planner's estimates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from index.errors import BadInput
from index.graph.index_manifest import index_folder, read_index_manifest
from index.sizes import show_bytes
from index.store.embedding_store import EmbeddingStore
from retrieval.mode_plans import choose, index_cost
from retrieval.query_blocks import RetrieveConfig, plan_blocks, search_depth
from retrieval.search.conditions import Conditions, conditions_of
from retrieval.search.planner import IndexCost, Method
from retrieval.search.retriever import SEARCHED, SearchMode
from retrieval.search.scan import SPARE
from retrieval.shared_search import GROUPS, PAIRS, SCAN_ROWS

__all__ = ["ModeCost", "RetrievalPlan", "plan_retrieval"]

_RESULT_BYTES = 12  # a float32 score and an int64 row id


@dataclass(frozen=True)
class ModeCost:
    """The search of one mode.

    shards: of the index, 0 without one; groups: of rows, which workers search apart (one is of the rows that are not
    indexed yet, if there are any); reads: times that each group is
    read; core_hours: on one kind of core; between_bytes: results of the groups until they are merged.
    """

    mode: SearchMode
    method: Method
    why: str
    shards: int
    groups: int
    reads: int
    read_bytes: int
    core_hours: float
    between_bytes: int


@dataclass(frozen=True)
class RetrievalPlan:
    """The cost of a retrieval with `workers` workers of `cores` cores each, for `rows` rows of `dim` dimensions.

    blocks: of queries; depth: rows that are found for each query, K and its reserve; worker_bytes: memory that a worker
    needs beside vectors and graphs; hours: of the searches, when all workers are busy all the time.
    """

    rows: int
    dim: int
    concepts: int
    queries: int
    blocks: int
    depth: int
    workers: int
    cores: int
    modes: tuple[ModeCost, ...]
    worker_bytes: int
    hours: float

    def lines(self) -> list[tuple[str, object]]:
        """The plan as labels and values for a terminal."""
        found: list[tuple[str, object]] = [
            ("rows", f"{self.rows:,} x {self.dim}"),
            ("queries", f"{self.queries:,} of {self.concepts:,} concepts, in {self.blocks:,} blocks"),
            ("rows for each query", f"{self.depth:,} a mode, the reserve included"),
        ]
        for mode in self.modes:
            kind = f"of {mode.shards:,} shards" if mode.method == "hnsw" else "of rows"
            times = "once" if mode.reads == 1 else f"{mode.reads:,} times"
            found += [
                (f"{mode.mode}: search", f"{mode.method}: {mode.why}"),
                (f"{mode.mode}: groups", f"{mode.groups:,} {kind}, each read {times}"),
                (f"{mode.mode}: reads", show_bytes(mode.read_bytes)),
                (f"{mode.mode}: time", f"{mode.core_hours:,.2f} core hours"),
                (f"{mode.mode}: disk", f"{show_bytes(mode.between_bytes)} in --out until merged"),
            ]
        return [
            *found,
            ("memory", f"{show_bytes(self.worker_bytes)} a worker, beside the rows or shards that it searches"),
            ("time in all", f"about {self.hours:,.2f} h on {self.workers:,} workers of {self.cores:,} cores"),
        ]


def plan_retrieval(config: RetrieveConfig, *, rows: int | None = None, workers: int = 1, cores: int) -> RetrievalPlan:
    """The cost of `config`, for `rows` rows instead of the store's, on `workers` workers of `cores` cores each.

    For another number of rows the index has as many shards of its size as they need, and no rows that are not indexed.

    Raises BadInput for K above the rows, or hnsw without an index.
    """
    store = EmbeddingStore.open(config.store)
    count = rows if rows is not None else store.rows
    if not 1 <= config.k <= count:
        raise BadInput(f"k {config.k}: larger than the {count:,} rows that are planned for")
    blocks = plan_blocks(config)
    queries, depth = sum(block.queries for block in blocks), search_depth(config.k, config.reserve, count)
    modes = tuple(_mode_cost(config, mode, store, count, rows is not None, queries) for mode in config.modes)
    scans = any(mode.method == "exact" for mode in modes)
    block_bytes = max(block.queries for block in blocks) * (depth + SPARE) * _RESULT_BYTES
    # A merge holds two groups' results of a block, joined, and the order of their scores.
    worker_bytes = max(6 * block_bytes, 40 * min(PAIRS, queries * (depth + SPARE)) if scans else 0)
    return RetrievalPlan(
        rows=count,
        dim=store.dim,
        concepts=len(config.concepts),
        queries=queries,
        blocks=len(blocks),
        depth=depth,
        workers=workers,
        cores=cores,
        modes=modes,
        worker_bytes=worker_bytes,
        hours=sum(mode.core_hours for mode in modes) / (workers * cores),
    )


def _mode_cost(
    config: RetrieveConfig, mode: SearchMode, store: EmbeddingStore, rows: int, other: bool, queries: int
) -> ModeCost:
    manifest = read_index_manifest(index_folder(store, SEARCHED[mode])) if config.method != "exact" else None
    index: IndexCost | None = None
    shard_bytes = 0
    if manifest is not None:
        index = index_cost(manifest, rows, search_depth(config.k, config.reserve, rows))
        if other:
            shards = -(-rows // manifest.shard_rows)
            visited = index.visited and shards * index.visited / index.shards
            index = replace(index, shards=shards, tail_rows=0, visited=visited)
        indexed = sum(shard.rows for shard in manifest.shards)
        size = sum(shard.size for shard in manifest.shards)
        shard_bytes = round(size / max(indexed, 1) * (rows - index.tail_rows))
    conditions = conditions_of(store, SEARCHED[mode], manifest)
    if other:  # what is in memory of these rows is not known
        conditions = Conditions(conditions.rates)
    plan = choose(config, rows, store.dim, index, cores=1, conditions=conditions)
    depth = search_depth(config.k, config.reserve, rows)
    row_bytes = store.dim * 2
    if plan.method == "exact":
        step = max(SCAN_ROWS, -(-rows // GROUPS))
        groups, width = -(-rows // step), depth + SPARE
        at_once = max(1, PAIRS // (width * config.block_queries))  # blocks
        reads = -(-len(plan_blocks(config)) // at_once)
        read_bytes = reads * rows * row_bytes
    else:
        assert index is not None
        step = -(-index.shards // GROUPS)
        groups, width, reads = -(-index.shards // step), depth, 1
        read_bytes = shard_bytes + index.tail_rows * row_bytes
        groups += bool(index.tail_rows)
    return ModeCost(
        mode=mode,
        method=plan.method,
        why=plan.why,
        shards=index.shards if index is not None else 0,
        groups=groups,
        reads=reads,
        read_bytes=read_bytes,
        core_hours=plan.seconds / 3600,
        between_bytes=queries * width * _RESULT_BYTES * groups,
    )
