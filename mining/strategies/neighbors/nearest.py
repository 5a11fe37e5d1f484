"""The k nearest rows of sampled anchors, in image or caption space, over the shards of an index or by an exact scan.

    near = nearest(ctx, map_items, minable, "image", anchors, k=16)
    near.ids [a, k], near.similarity [a, k]

The work is two maps: each shard (a graph, or a range of rows where the store has no index) is searched for each chunk
of anchors, then the answers for each chunk are merged. A search from an image's own node is easier than the text
queries that the recall contract of an index is measured with, so the smallest sufficient efSearch is measured on a
sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.files import join, sha256_file
from index.graph.exact import exact_top_k
from index.graph.index_manifest import index_folder, read_index_manifest
from index.graph.search_index import HnswIndex, has_index, open_index
from index.store.embedding_store import EmbeddingStore, Modality
from mining.strategies.context import MapItems, MiningContext
from mining.strategies.minable import Minable, side_of
from mining.strategies.neighbors.similarity import similarities
from mining.strategies.neighbors.work_arrays import has_arrays, read_array, read_arrays, write_array, write_arrays

__all__ = ["Nearest", "nearest", "scan_rows"]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Anchors a chunk: 8,192 searches of a graph of millions of rows take about ten seconds on a core, so a killed run
# loses little, and 8,192 x 32 answers are 3 MB.
CHUNK_ANCHORS = 8_192
# Rows of an item of the exact scan: 2 million x 512 fp16 are 2 GB, read once for each chunk of anchors.
SCAN_ROWS = 2_000_000
# Chunks that are merged as one item.
MERGED_CHUNKS = 8
# efSearch is the least of these that finds ENOUGH of what the contract's efSearch finds for TRIED of the anchors. A
# walk from the anchor's own node needs little, even less than k: nine in ten of the nearest rows are among its links.
# On 200,000 x 512 vectors distributed as CLIP's (contract: 192), 7 found 0.956 of the true 10 nearest with 374
# comparisons a row, 10 found 0.961 with 511, and 24 found 0.978 at half the speed of 11.
EF_SEARCH = (4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)
ENOUGH = 0.96
TRIED = 256
# Rows of a block that an exact scan compares at once.
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Nearest:
    """The neighbours of a anchors: ids int64 [a, k] by falling similarity float32 [a, k], -1 and -inf where there are
    fewer than k. how: a sentence that says how they were found."""

    ids: RowIds
    similarity: Floats
    how: str


def nearest(
    ctx: MiningContext, map_items: MapItems, minable: Minable, modality: Modality, anchors: RowIds, k: int
) -> Nearest:
    """The k rows nearest to each of `anchors`, without the anchor itself, among the rows that may be mined.

    The index of the modality is used where the store has one and all of its rows may be mined; otherwise every row is
    compared. Raises StoreInvalid, with the command to run, when the index no longer fits the store.
    """
    store = minable.store
    index = _index(store, modality) if minable.chosen is None else None
    asked = minable.neighbors_to_ask(k)  # more than k where the rows of the other side are left out afterwards
    shards: list[tuple[int | None, int, int, int]]
    if index is not None:
        ef_search, finds = _sufficient_ef_search(ctx, index, anchors, asked)
        manifest = read_index_manifest(index_folder(store, modality))
        built = manifest.shards if manifest else ()
        # The last shard brings the rows that were added after the index was built, even if it holds none itself.
        shards = [(each.number, ef_search, 0, 0) for each in built if each.indexed or each is built[-1]]
        count = f"{len(shards)} shard{'s' * (len(shards) != 1)}"
        how = f"{modality} neighbours came from the {modality} index ({count}) at efSearch {ef_search}, which {finds}"
    else:
        starts = range(0, minable.count, SCAN_ROWS)
        shards = [(None, 0, start, min(start + SCAN_ROWS, minable.count)) for start in starts]
        why = (
            "only the rows that were chosen are read"
            if minable.chosen is not None
            else f"the store has no {modality} index, which `clipmine index {store.path} --modality {modality}` builds"
        )
        how = f"{modality} neighbours came from an exact scan: {why}"
    write_array(ctx, f"{modality}_anchors.npy", anchors)
    if minable.chosen is not None:
        write_array(ctx, "chosen.npy", minable.chosen)
    bounds = [*range(0, len(anchors), CHUNK_ANCHORS), len(anchors)]
    chunks = [(first, last) for first, last in pairwise(bounds) if last > first]
    searched = [
        NearItem(f"{modality}_{number:04d}_{part:04d}", modality, shard, ef_search, start, stop, first, last, asked)
        for number, (shard, ef_search, start, stop) in enumerate(shards)
        for part, (first, last) in enumerate(chunks)
    ]
    map_items(search_item, searched, f"mine {ctx.strategy}: {modality} neighbours")
    merges = [
        MergeItem(
            f"{modality}_{part:04d}",
            modality,
            tuple(f"{modality}_{number:04d}_{part:04d}" for number in range(len(shards))),
            index is None,
            first,
            last,
            k,
        )
        for part, (first, last) in enumerate(chunks)
    ]
    groups = [
        MergeGroup(merges[start].name, tuple(merges[start : start + MERGED_CHUNKS]))
        for start in range(0, len(merges), MERGED_CHUNKS)
    ]
    map_items(merge_group, groups, f"mine {ctx.strategy}: merge {modality} neighbours")
    found = [read_arrays(ctx, f"merged_{item.name}.npz") for item in merges]
    ids = np.concatenate([np.empty((0, k), np.int64), *(each["ids"] for each in found)])
    similarity = np.concatenate([np.empty((0, k), np.float32), *(each["scores"] for each in found)])
    return Nearest(ids, similarity, how)


def _index(store: EmbeddingStore, modality: Modality) -> HnswIndex | None:
    """The store's index, or None. Raises StoreInvalid when it does not fit the store."""
    if modality == "text" and not store.has_text:
        raise BadInput(f"{store.path}: has no text embeddings; embed with captions, or leave this strategy out")
    return open_index(store, modality) if has_index(store, modality) else None


def _sufficient_ef_search(ctx: MiningContext, index: HnswIndex, anchors: RowIds, k: int) -> tuple[int, str]:
    """The least efSearch that is sufficient for these anchors, and the end of a sentence on how much it finds."""
    most = max(index.ef_search, 2 * k)
    if not len(anchors):
        return most, "is the index's own"
    tried = anchors[np.sort(ctx.random("efSearch").choice(len(anchors), min(TRIED, len(anchors)), replace=False))]
    known = index.search_rows(tried, k, most)[0][:, -1]
    for ef_search in EF_SEARCH:
        if ef_search >= most:
            break
        scores, _ = index.search_rows(tried, k, ef_search)
        # By score, not by row id: of several rows at the same distance any is right.
        share = float((scores >= known[:, None] - 1e-6).mean())
        if share >= ENOUGH:
            return ef_search, f"finds {share:.3f} of what {most} finds for {len(tried)} of the rows"
    return most, f"is the least that finds {ENOUGH} of the nearest"


@dataclass(frozen=True)
class NearItem:
    """Search a shard, of the index or positions start .. stop - 1 of the rows, for anchors first .. last - 1."""

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
    """Merge the answers of all shards for one chunk of anchors."""

    name: str
    modality: Modality
    shards: tuple[str, ...]
    scanned: bool
    first: int
    last: int
    k: int


@dataclass(frozen=True)
class MergeGroup:
    """Chunks that are merged as one item, as each takes well under a second."""

    name: str
    chunks: tuple[MergeItem, ...]


def search_item(item: NearItem, ctx: MiningContext) -> int:
    """Search one shard for a chunk of anchors and write the answers; returns the number of anchors."""
    target = f"near_{item.name}.npz"
    if has_arrays(ctx, target):
        return item.last - item.first
    store = ctx.open_store()
    anchors = read_array(ctx, f"{item.modality}_anchors.npy")[item.first : item.last]
    if item.shard is not None:
        index = _opened(str(store.path), item.modality, item.shard, _stamp(store, item.modality))
        scores, ids = index.search_rows(anchors, item.k, item.ef_search)
    else:
        queries = store.gather(item.modality, anchors).astype(np.float32)
        chosen = read_array(ctx, "chosen.npy") if ctx.config.restricts_rows else None
        scores, ids = scan_rows(Minable(store, chosen), item.modality, item.start, item.stop, queries, item.k + 1)
    write_arrays(ctx, target, ids=ids, scores=scores)
    return item.last - item.first


def merge_group(group: MergeGroup, ctx: MiningContext) -> int:
    """Merge each chunk of the group; returns the number of anchors."""
    return sum(_merge(item, ctx) for item in group.chunks)


def _merge(item: MergeItem, ctx: MiningContext) -> int:
    """Write the k best of all shards' answers, without the anchor itself; returns the number of anchors."""
    target = f"merged_{item.name}.npz"
    if has_arrays(ctx, target):
        return item.last - item.first
    store = ctx.open_store()
    anchors = read_array(ctx, f"{item.modality}_anchors.npy")[item.first : item.last]
    found = [read_arrays(ctx, f"near_{name}.npz") for name in item.shards]
    ids = np.concatenate([each["ids"] for each in found], axis=1)
    scores = np.concatenate([each["scores"] for each in found], axis=1)
    ids[ids == anchors[:, None]] = -1
    if (side := side_of(ctx)) is not None:
        ids[~side.contains(ids)] = -1
    scores[ids < 0] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, : item.k]
    ids = np.take_along_axis(ids, best, axis=1)
    exact = np.take_along_axis(scores, best, axis=1)
    if item.scanned:  # the last bits of a matrix product depend on the batch
        known = ids >= 0
        pairs = np.stack([np.broadcast_to(anchors[:, None], ids.shape)[known], ids[known]], axis=1)
        exact[known] = similarities(store, item.modality, pairs)
    # By falling similarity; of equal ones the smaller row first.
    order = np.lexsort((ids, -exact), axis=1)
    ids, exact = np.take_along_axis(ids, order, axis=1), np.take_along_axis(exact, order, axis=1)
    missing = item.k - ids.shape[1]
    if missing > 0:
        ids = np.pad(ids, ((0, 0), (0, missing)), constant_values=-1)
        exact = np.pad(exact, ((0, 0), (0, missing)), constant_values=-np.inf)
    write_arrays(ctx, target, ids=ids, scores=exact)
    return item.last - item.first


@lru_cache(maxsize=1)
def _opened(store: str, modality: Modality, shard: int, stamp: str) -> HnswIndex:
    """The graph of one shard, kept open between items, since opening one checks it against the store.

    stamp: a string that changes when the index is built again.
    """
    return open_index(EmbeddingStore.open(store), modality, shards=[shard])


def _stamp(store: EmbeddingStore, modality: Modality) -> str:
    return sha256_file(join(str(index_folder(store, modality)), "index.json"))


def scan_rows(
    minable: Minable, modality: Modality, start: int, stop: int, queries: Floats, k: int
) -> tuple[Floats, RowIds]:
    """Scores and ids [q, up to k] of the rows nearest to each query, by comparing those at start .. stop - 1."""
    from retrieval.search.scan import settle_scores

    store, chosen = minable.store, minable.chosen
    if chosen is None:
        blocks: Any = store.blocks(modality, _BLOCK_ROWS, start, stop)
    else:
        starts = range(start, stop, _BLOCK_ROWS)
        blocks = ((first, store.gather(modality, chosen[first : min(first + _BLOCK_ROWS, stop)])) for first in starts)
    # A few more than k, as rows too close in score to rank in fp32 may change places when they are recomputed.
    keep = min(k + 16, stop - start)
    scores, ids = exact_top_k(blocks, queries, keep)
    if chosen is not None:
        ids = np.where(ids >= 0, chosen[np.maximum(ids, 0)], -1)
    settle_scores(store, modality, queries, scores, ids, k)
    return scores[:, :k], ids[:, :k]
