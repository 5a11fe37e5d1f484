"""The two kinds of work items behind `mining.strategies.neighbors`: a shard's answers for a chunk of anchors, and merging them.

Each writes one file into the strategy's folder and is passed over when that is there. Knows no strategy.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import StoreInvalid
from index.files import exists, join, open_file, sha256_file, write_atomic
from index.graph.exact import exact_top_k
from index.graph.index_manifest import index_folder
from index.graph.search_index import HnswIndex, open_index
from index.store.embedding_store import EmbeddingStore, Modality
from mining.strategies.anchors import Minable
from mining.strategies.context import Mining

__all__ = [
    "MergeGroup",
    "MergeItem",
    "NearItem",
    "merge_group",
    "read_answers",
    "search_item",
    "similarities",
    "write_array",
]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Row-anchor pairs whose vectors are gathered at once: 32 MB of fp16 at 512 dimensions.
_PAIRS = 32_768
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class NearItem:
    """One shard (of a graph, or rows start .. stop - 1 of what may be mined) for the anchors first .. last - 1."""

    name: str
    modality: Modality
    shard: int | None
    ef_search: int
    start: int
    stop: int
    first: int
    last: int
    k: int


@dataclass(frozen=True)
class MergeItem:
    """The answers of all shards for one chunk of anchors."""

    name: str
    modality: Modality
    shards: tuple[str, ...]
    scanned: bool
    first: int
    last: int
    k: int


@dataclass(frozen=True)
class MergeGroup:
    """Chunks that are merged as one item: each takes well under a second."""

    name: str
    chunks: tuple[MergeItem, ...]


def search_item(item: NearItem, mine: Mining) -> int:
    """Answer a chunk of anchors from one shard; returns how many."""
    target = f"near_{item.name}.npz"
    if exists(join(mine.folder, target)):
        return item.last - item.first
    store = mine.open_store()
    anchors = _read_array(mine, f"{item.modality}_anchors.npy")[item.first : item.last]
    if item.shard is not None:
        index = _opened(str(store.path), item.modality, item.shard, _stamp(store, item.modality))
        scores, ids = index.search_rows(anchors, item.k, item.ef_search)
    else:
        queries = store.gather(item.modality, anchors).astype(np.float32)
        chosen = _read_array(mine, "chosen.npy") if mine.config.selection is not None else None
        scores, ids = _scan(Minable(store, chosen), item, queries)
    _write_answers(mine, target, ids, scores)
    return item.last - item.first


def merge_group(group: MergeGroup, mine: Mining) -> int:
    """Merge each chunk of the group; returns for how many anchors."""
    return sum(_merge(item, mine) for item in group.chunks)


def _merge(item: MergeItem, mine: Mining) -> int:
    """The k best of all shards' answers, without the anchor itself; returns for how many anchors."""
    target = f"merged_{item.name}.npz"
    if exists(join(mine.folder, target)):
        return item.last - item.first
    store = mine.open_store()
    anchors = _read_array(mine, f"{item.modality}_anchors.npy")[item.first : item.last]
    found = [read_answers(mine, f"near_{name}.npz") for name in item.shards]
    ids = np.concatenate([ids for ids, _ in found], axis=1)
    scores = np.concatenate([scores for _, scores in found], axis=1)
    ids[ids == anchors[:, None]] = -1
    scores[ids < 0] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, : item.k]
    ids = np.take_along_axis(ids, best, axis=1)
    exact = np.take_along_axis(scores, best, axis=1)
    if item.scanned:  # a matrix product's last bits depend on its batch
        known = ids >= 0
        pairs = np.stack([np.broadcast_to(anchors[:, None], ids.shape)[known], ids[known]], axis=1)
        exact[known] = similarities(store, item.modality, pairs)
    # Falling similarity, of equal ones the smaller row first.
    order = np.lexsort((ids, -exact), axis=1)
    ids, exact = np.take_along_axis(ids, order, axis=1), np.take_along_axis(exact, order, axis=1)
    missing = item.k - ids.shape[1]
    if missing > 0:
        ids = np.pad(ids, ((0, 0), (0, missing)), constant_values=-1)
        exact = np.pad(exact, ((0, 0), (0, missing)), constant_values=-np.inf)
    _write_answers(mine, target, ids, exact)
    return item.last - item.first


def similarities(store: EmbeddingStore, modality: Modality, pairs: RowIds) -> Floats:
    """float32 [n]: the cosine of each pair [n, 2] of rows, to the bit the same wherever and however it is asked."""
    found = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _PAIRS):
        some = pairs[start : start + _PAIRS]
        rows, back = np.unique(some, return_inverse=True)
        vectors = store.gather(modality, rows).astype(np.float32)
        left, right = np.asarray(back).reshape(some.shape).T
        # Each sum runs over one row alone, so batch and threads do not matter.
        found[start : start + _PAIRS] = np.einsum("ij,ij->i", vectors[left], vectors[right])
    return found


@lru_cache(maxsize=1)
def _opened(store: str, modality: Modality, shard: int, stamp: str) -> HnswIndex:
    """One shard's graph, kept from item to item of a worker: opening checks it against the store, which takes a while.

    stamp: what changes when the index is built again.
    """
    return open_index(EmbeddingStore.open(store), modality, shards=[shard])


def _stamp(store: EmbeddingStore, modality: Modality) -> str:
    return sha256_file(join(str(index_folder(store, modality)), "index.json"))


def _scan(minable: Minable, item: NearItem, queries: Floats) -> tuple[Floats, RowIds]:
    from retrieval.search.scan import settle_near_ties

    store, chosen = minable.store, minable.chosen
    if chosen is None:
        blocks: Any = store.blocks(item.modality, _BLOCK_ROWS, item.start, item.stop)
    else:
        starts = range(item.start, item.stop, _BLOCK_ROWS)
        blocks = (
            (start, store.gather(item.modality, chosen[start : min(start + _BLOCK_ROWS, item.stop)]))
            for start in starts
        )
    # A few more than asked, so that rows too near to rank the last one can trade places with it.
    keep = min(item.k + 1 + 16, item.stop - item.start)
    scores, ids = exact_top_k(blocks, queries, keep)
    if chosen is not None:
        ids = np.where(ids >= 0, chosen[np.maximum(ids, 0)], -1)
    settle_near_ties(store, item.modality, queries, scores, ids)
    return scores[:, : item.k + 1], ids[:, : item.k + 1]


def write_array(mine: Mining, name: str, array: RowIds) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomic(join(mine.folder, name), buffer.getvalue())


def _read_array(mine: Mining, name: str) -> RowIds:
    with open_file(join(mine.folder, name)) as stream:
        array: RowIds = np.load(stream, allow_pickle=False)
    return array


def _write_answers(mine: Mining, name: str, ids: RowIds, scores: Floats) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, ids=ids, scores=scores)
    write_atomic(join(mine.folder, name), buffer.getvalue())


def read_answers(mine: Mining, name: str) -> tuple[RowIds, Floats]:
    try:
        with open_file(join(mine.folder, name)) as stream, np.load(stream, allow_pickle=False) as arrays:
            return arrays["ids"], arrays["scores"]
    except (ValueError, OSError) as error:
        raise StoreInvalid(f"{join(mine.folder, name)}: is damaged; delete {mine.folder} and mine again") from error
