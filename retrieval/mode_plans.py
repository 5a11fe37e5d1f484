"""How each mode of a retrieval is searched: chosen once, before the first block, and kept with the finished blocks.

So all blocks are searched alike, on every executor, and by a later run on a machine with other cores too. Only the
lists of the index's shards are read here; no shard is opened, or copied from an object store.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from index.cores import usable_cores
from index.files import exists, hash_json, join, read_bytes, write_atomic
from index.graph.exact import best_device
from index.graph.index_manifest import IndexManifest, index_folder, read_index_manifest
from index.store.embedding_store import EmbeddingStore
from retrieval.query_blocks import ModePlan, RetrieveConfig, plan_blocks, search_depth
from retrieval.search.conditions import IN_MEMORY, Conditions, conditions_of
from retrieval.search.planner import IndexCost, SearchPlan, plan_search
from retrieval.search.retriever import SEARCHED

if TYPE_CHECKING:
    from retrieval.search.retriever import SearchMode

__all__ = ["choose", "index_cost", "index_source", "settle_plans"]


def settle_plans(config: RetrieveConfig) -> dict[SearchMode, ModePlan]:
    """The plan of each mode: the one that an earlier run of this retrieval chose, unless the index has changed since.

    Raises BadInput for the method hnsw without an index.
    """
    store = EmbeddingStore.open(config.store)
    path = join(config.out, "work/plans.json")
    known = {mode: ModePlan(**plan) for mode, plan in json.loads(read_bytes(path)).items()} if exists(path) else {}
    plans = {}
    for mode in config.modes:
        manifest = read_index_manifest(index_folder(store, SEARCHED[mode])) if config.method != "exact" else None
        plan = known.get(mode)
        if plan is None or (plan.method == "hnsw" and plan.source != index_source(manifest)):
            plan = _plan(config, store, manifest, conditions_of(store, SEARCHED[mode], manifest))
        plans[mode] = plan
    if plans != known:
        write_atomic(path, json.dumps({mode: asdict(plan) for mode, plan in plans.items()}))
    return plans


def _plan(
    config: RetrieveConfig, store: EmbeddingStore, manifest: IndexManifest | None, conditions: Conditions
) -> ModePlan:
    depth = search_depth(config.k, config.reserve, store.rows)
    cost = None if manifest is None else index_cost(manifest, store.rows, depth)
    found = choose(config, store.rows, store.dim, cost, usable_cores(), conditions)
    source = index_source(manifest) if found.method == "hnsw" else f"rows-{store.rows}"
    return ModePlan(found.method, found.why, found.ef_search, source)


def choose(
    config: RetrieveConfig,
    rows: int,
    dim: int,
    index: IndexCost | None,
    cores: int,
    conditions: Conditions = IN_MEMORY,
) -> SearchPlan:
    """The planner's choice for all prompts of a retrieval over a store of so many rows."""
    queries = sum(block.queries for block in plan_blocks(config))
    depth = search_depth(config.k, config.reserve, rows)
    return plan_search(
        rows,
        dim,
        queries,
        depth,
        index,
        best_device(),
        cores=cores,
        method=config.method,
        at_once=config.block_queries,
        conditions=conditions,
    )


def index_cost(manifest: IndexManifest, rows: int, k: int) -> IndexCost:
    """What the planner needs of an index over a store that has `rows` rows now, for searches of k rows."""
    shards = max(sum(1 for shard in manifest.shards if shard.indexed), 1)
    recall = manifest.recall
    return IndexCost(shards, recall.ef_search, max(rows - manifest.rows, 0), recall.visited(shards, k))


def index_source(manifest: IndexManifest | None) -> str:
    """A name of a generation of the index: of its shards, its rows, and which shards queries visit."""
    if manifest is None:
        return ""
    visits = manifest.recall.visits
    margins = [] if visits is None or visits.margins is None else [asdict(visits.margins)]
    return hash_json([manifest.rows, [shard.name for shard in manifest.shards], *margins])[:16]
