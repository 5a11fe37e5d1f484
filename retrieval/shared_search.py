"""The search stage of a retrieval, shared out over workers that see one output folder.

    encode   a block's prompts                                        -> work/queries/00000.npz
    search   a group of rows x many blocks: the best rows of the group -> work/found/00000/t2i-GENERATION-00007.npz
    merge    a block: the best of all groups                          -> its candidates and its marker

A group is some shards of the index, the rows that are not indexed yet, or, for an exact scan, a range of rows. A worker
opens and reads it once for many blocks. Each file appears only when it is complete and is not made twice, so that a
killed search goes on where it ended. The candidates equal those of `query_blocks.search_block`: graphs get the same
queries at once and answer each on its own, and scans settle their scores by the store's vectors at the end.

Memory: a search of graphs holds one block's results, a scan those of up to `_PAIRS` pairs of query and row, a merge two
groups' results of a block.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from index.encoder.model_spec import ModelSpec
from index.errors import ClipmineError
from index.files import exists, join, read_bytes, write_atomic
from index.graph.exact import best_device, exact_top_k
from index.graph.hnsw import falls_short
from index.graph.index_manifest import index_folder, read_index_manifest
from index.graph.search_index import open_index
from index.graph.shards import best_of
from index.graph.tail import Tail
from index.outputs import remove_folder
from index.store.embedding_store import EmbeddingStore
from retrieval.mode_plans import index_source, settle_plans
from retrieval.query_blocks import (
    ModePlan,
    QueryBlock,
    RetrieveConfig,
    encode_block,
    finish_block,
    is_block_done,
    plan_blocks,
    search_depth,
)
from retrieval.search.retriever import SEARCHED, Retriever, SearchMode, unit_rows
from retrieval.search.scan import SCAN_BLOCK_ROWS, SPARE, scan, settle_scores

__all__ = [
    "MapItems",
    "RowGroup",
    "SearchItem",
    "SharedSearch",
    "encode_item",
    "merge_item",
    "row_groups",
    "search_item",
    "search_items",
    "share_search",
]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]

# Groups of rows, at most. Each keeps its own K best of every query until they are merged: with K 1,000 and 80,000
# queries 0.96 GB a group.
GROUPS = 64
# Rows of a range of an exact scan, at least: 1 GB at 512 dimensions in fp16.
SCAN_ROWS = 1_048_576
# Items of a search to aim at, so that a small number of groups is shared out by blocks.
SEARCH_ITEMS = 64
# Pairs of query and row that an exact scan keeps at once: with those waiting to be sorted, 40 bytes each.
PAIRS = 16_000_000

# map_items(function, items, label) -> results in the order of the items; each is one call function(item, SharedSearch),
# possibly on another machine.
MapItems = Callable[[Callable[[Any, "SharedSearch"], Any], Sequence[Any], str], list[Any]]


@dataclass(frozen=True)
class RowGroup:
    """Rows first .. last - 1. shards: numbers of the shards that hold them; None if they are compared one by one.

    Shards by meaning hold some of these rows, and only the queries that visit them are compared with them.
    """

    number: int
    first: int
    last: int
    shards: tuple[int, ...] | None = None


@dataclass(frozen=True)
class SharedSearch:
    """What the workers know. model: None for the store's own; rows: of the store; plans, groups: of each mode."""

    config: RetrieveConfig
    model: ModelSpec | None
    rows: int
    plans: dict[SearchMode, ModePlan]
    groups: dict[SearchMode, tuple[RowGroup, ...]]

    @property
    def depth(self) -> int:
        """Rows to find for each prompt."""
        return search_depth(self.config.k, self.config.reserve, self.rows)


@dataclass(frozen=True)
class SearchItem:
    """One group of rows, and the blocks whose queries are compared with it."""

    name: str
    mode: SearchMode
    group: RowGroup
    blocks: tuple[QueryBlock, ...]


def share_search(
    config: RetrieveConfig, map_items: Callable[[SharedSearch], MapItems], model: ModelSpec | None = None
) -> None:
    """Search all blocks of a prepared retrieval that are not done yet; `map_items(search)` runs items on workers.

    Raises:
        BadInput: hnsw without an index; the store's model is not known.
        ClipmineError: the index was built again, or the store has grown, while this runs; run it again.
    """
    store = EmbeddingStore.open(config.store)
    plans = settle_plans(config)
    search = SharedSearch(
        config, model, store.rows, plans, {mode: row_groups(store, mode, plan) for mode, plan in plans.items()}
    )
    blocks = [block for block in plan_blocks(config) if not is_block_done(block, config)]
    run = map_items(search)
    run(encode_item, [block for block in blocks if not exists(_queries_file(block, config))], "encode prompts")
    run(search_item, search_items(search, blocks), "search")
    run(merge_item, blocks, "merge")


def row_groups(store: EmbeddingStore, mode: SearchMode, plan: ModePlan) -> tuple[RowGroup, ...]:
    """The groups that a store's rows are searched in: they depend on the store and its index, not on the workers."""
    if plan.method == "exact":
        step = max(SCAN_ROWS, -(-store.rows // GROUPS))
        starts = range(0, store.rows, step)
        return tuple(RowGroup(number, first, min(first + step, store.rows)) for number, first in enumerate(starts))
    manifest = read_index_manifest(index_folder(store, SEARCHED[mode]))
    assert manifest is not None  # the plan was made for it
    shards = manifest.shards
    step = -(-len(shards) // GROUPS)
    groups = []
    for number, first in enumerate(range(0, len(shards), step)):
        some = shards[first : first + step]
        low, high = some[0].source_rows[0], some[-1].source_rows
        groups.append(RowGroup(number, low, sum(high), tuple(range(first, first + len(some)))))
    if manifest.rows < store.rows:
        groups.append(RowGroup(len(groups), manifest.rows, store.rows))
    return tuple(groups)


def search_items(search: SharedSearch, blocks: Sequence[QueryBlock]) -> list[SearchItem]:
    """The items of the search of `blocks`: each group with as many blocks as fit; those found already are left out."""
    items = []
    for mode, groups in search.groups.items():
        exact = search.plans[mode].method == "exact"
        waiting = {
            group: [block for block in blocks if not exists(_found_file(search, mode, block, group))]
            for group in groups
        }
        most = -(-len(blocks) * len(groups) // SEARCH_ITEMS)
        for group, some in waiting.items():
            size = 0
            taken: list[QueryBlock] = []
            for block in some:
                pairs = block.queries * (search.depth + SPARE)
                if taken and (len(taken) >= most or (exact and size + pairs > PAIRS)):
                    items.append(_item(mode, group, taken))
                    size, taken = 0, []
                taken.append(block)
                size += pairs
            if taken:
                items.append(_item(mode, group, taken))
    return items


def _item(mode: SearchMode, group: RowGroup, blocks: list[QueryBlock]) -> SearchItem:
    shards = f" of shards {group.shards[0]} to {group.shards[-1]}" if group.shards else ""
    name = f"{mode} rows {group.first} to {group.last}{shards}, blocks {blocks[0].number} to {blocks[-1].number}"
    return SearchItem(name, mode, group, tuple(blocks))


def encode_item(block: QueryBlock, search: SharedSearch) -> None:
    """Encode a block's prompts and write their vectors."""
    from index.encoder.loading import load_encoder

    chosen = load_encoder(search.model) if search.model is not None else None
    vectors, cut = encode_block(block, search.config, Retriever(_open(search), chosen).encoder)
    _save(_queries_file(block, search.config), vectors=vectors, cut=np.array(cut))


def search_item(item: SearchItem, search: SharedSearch) -> None:
    """Open a group of rows once, and write the best of them for the queries of each block."""
    store, modality, group = _open(search), SEARCHED[item.mode], item.group
    plan, depth = search.plans[item.mode], search.depth
    blocks = [block for block in item.blocks if not exists(_found_file(search, item.mode, block, group))]
    if not blocks:
        return
    queries = [unit_rows(_load(_queries_file(block, search.config))["vectors"], store.dim) for block in blocks]

    def write(block: QueryBlock, found: tuple[Floats, RowIds]) -> None:
        _save(_found_file(search, item.mode, block, group), scores=found[0], rows=found[1])

    if plan.method == "exact":
        rows = store.blocks(modality, SCAN_BLOCK_ROWS, group.first, group.last)
        keep = min(depth + SPARE, group.last - group.first)
        scores, ids = exact_top_k(rows, np.concatenate(queries), keep, excluded=store.forgotten, device=best_device())
        ends = np.cumsum([len(own) for own in queries])[:-1]
        for block, own_scores, own_ids in zip(blocks, np.split(scores, ends), np.split(ids, ends), strict=True):
            write(block, (own_scores, own_ids))
    elif group.shards is None:
        tail = Tail(store, modality, group.first)
        for block, own in zip(blocks, queries, strict=True):
            write(block, tail.add(own, (np.empty((len(own), 0), np.float32), np.empty((len(own), 0), np.int64)), depth))
    else:
        index = open_index(store, modality, group.shards)
        _check_generation(search, item.mode, store)
        assert plan.ef_search is not None
        for block, own in zip(blocks, queries, strict=True):
            write(block, index.find(own, depth, plan.ef_search))


def merge_item(block: QueryBlock, search: SharedSearch) -> None:
    """Write a block's candidates from what was found in all groups, and remove that."""
    store = _open(search)
    encoded = _load(_queries_file(block, search.config))
    queries = unit_rows(encoded["vectors"], store.dim)
    finish_block(
        block,
        search.config,
        search.plans,
        lambda mode: _merged(block, mode, search, store, queries),
        prompts_cut=int(encoded["cut"]),
    )
    remove_folder(_found_folder(block, search.config))


def _merged(
    block: QueryBlock, mode: SearchMode, search: SharedSearch, store: EmbeddingStore, queries: Floats
) -> tuple[Floats, RowIds]:
    """The best rows of a store for each query of a block, [q, depth]."""
    modality, depth = SEARCHED[mode], search.depth
    groups = search.groups[mode]

    def found(group: RowGroup) -> tuple[Floats, RowIds]:
        arrays = _load(_found_file(search, mode, block, group))
        return arrays["scores"], arrays["rows"]

    def best(some: Sequence[RowGroup], k: int | None) -> tuple[Floats, RowIds]:
        merged = found(some[0])
        for group in some[1:]:  # one after the other: all of them together may be more than the memory
            merged = best_of([merged, found(group)], k or merged[0].shape[1])
        return merged

    if search.plans[mode].method == "exact":
        scores, rows = best(groups, min(depth + SPARE, store.rows))
        settle_scores(store, modality, queries, scores, rows, depth)
        return scores[:, :depth], rows[:, :depth]
    indexed = [group for group in groups if group.shards is not None]
    _check_generation(search, mode, store)
    index = open_index(store, modality, ())
    scores, rows = index.rank(queries, *best(indexed, None), depth)
    for group in groups[len(indexed) :]:
        scores, rows = best_of([(scores, rows), found(group)], depth)
    if falls_short(rows):  # as in `Retriever.search`
        short = np.flatnonzero(rows[:, -1] < 0)
        scores, rows = scores.copy(), rows.copy()
        scores[short], rows[short] = scan(store, modality, queries[short], depth)
    return scores, rows


def _open(search: SharedSearch) -> EmbeddingStore:
    store = EmbeddingStore.open(search.config.store)
    if store.rows != search.rows:
        raise ClipmineError(f"{store.path}: has grown since this retrieval began; retrieve into a new folder")
    return store


def _check_generation(search: SharedSearch, mode: SearchMode, store: EmbeddingStore) -> None:
    modality = SEARCHED[mode]
    if index_source(read_index_manifest(index_folder(store, modality))) != search.plans[mode].source:
        raise ClipmineError(f"{store.path}: its {modality} index was built again meanwhile; run the same command again")


def _queries_file(block: QueryBlock, config: RetrieveConfig) -> str:
    return join(config.out, f"work/queries/{block.number:05d}.npz")


def _found_folder(block: QueryBlock, config: RetrieveConfig) -> str:
    return join(config.out, f"work/found/{block.number:05d}")


def _found_file(search: SharedSearch, mode: SearchMode, block: QueryBlock, group: RowGroup) -> str:
    name = f"{mode}-{search.plans[mode].source}-{group.number:05d}.npz"
    return join(_found_folder(block, search.config), name)


def _save(path: str, **arrays: npt.NDArray[Any]) -> None:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    write_atomic(path, stream.getvalue())


def _load(path: str) -> dict[str, npt.NDArray[Any]]:
    with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
