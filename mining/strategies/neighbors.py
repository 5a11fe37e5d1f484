"""The k nearest rows of sampled anchors, in image or caption space, over the shards of an index or by an exact scan.

    near = nearest(mine, map_items, minable, "image", anchors, k=16)
    near.ids [a, k], near.similarity [a, k]

Two maps: every shard answers for every chunk of anchors (a graph, or a block of rows where the store has no index),
then each chunk's answers are merged. An image that looks for its like is an easier query than the texts that an index's
recall contract is measured with, so a small sample says which efSearch is enough here. Knows no strategy.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.graph.index_manifest import index_folder, read_index_manifest
from index.graph.search_index import HnswIndex, has_index, open_index
from index.store.embedding_store import EmbeddingStore, Modality
from mining.strategies.anchors import Minable
from mining.strategies.context import MapItems, Mining
from mining.strategies.near_items import (
    MergeGroup,
    MergeItem,
    NearItem,
    merge_group,
    read_answers,
    search_item,
    similarities,
    write_array,
)

__all__ = ["Nearest", "nearest", "similarities"]

RowIds = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Anchors a chunk: 8,192 searches of a graph of millions of rows take some ten seconds on a core, so a killed run loses
# little, and 8,192 x 32 answers are 3 MB.
CHUNK_ANCHORS = 8_192
# Rows of one exact item: 2 million x 512 fp16 are 2 GB read once for a chunk of anchors.
SCAN_ROWS = 2_000_000
# Chunks merged as one item.
MERGED_CHUNKS = 8
# efSearch is the least of these, and of k, that finds ENOUGH of what the contract's finds, for TRIED of the anchors. A
# walk that begins at the anchor's own node needs little: on 200,000 x 512 vectors as CLIP's lie (contract: 192), 11
# found 0.969 of the true 10 nearest and 24 found 0.978, at half the speed.
EF_SEARCH = (12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)
ENOUGH = 0.96
TRIED = 256


@dataclass(frozen=True)
class Nearest:
    """anchors int64 [a]; their neighbours' ids int64 [a, k], -1 where there are fewer, and similarity float32 [a, k],
    falling, -inf where there are fewer. how: a sentence that says by which way they were found."""

    anchors: RowIds
    ids: RowIds
    similarity: Floats
    how: str


def nearest(
    mine: Mining, map_items: MapItems, minable: Minable, modality: Modality, anchors: RowIds, k: int
) -> Nearest:
    """The k rows nearest to each of `anchors`, itself left out, among the rows that may be mined.

    A graph is used where the store has an index of the modality and no selection narrows the rows; else every row is
    compared. StoreInvalid, with what to run, when there is an index that no longer fits the store.
    """
    store = minable.store
    index = _index(store, modality) if minable.chosen is None else None
    shards: list[tuple[int | None, int, int, int]]
    if index is not None:
        ef_search, finds = _enough(mine, index, anchors, k)
        manifest = read_index_manifest(index_folder(store, modality))
        shards = [(each.number, ef_search, 0, 0) for each in (manifest.shards if manifest else ()) if each.indexed]
        count = f"{len(shards)} shard{'s' * (len(shards) != 1)}"
        how = f"{modality} neighbours came from the {modality} index ({count}) at efSearch {ef_search}, which {finds}"
    else:
        starts = range(0, minable.count, SCAN_ROWS)
        shards = [(None, 0, start, min(start + SCAN_ROWS, minable.count)) for start in starts]
        why = (
            "the selection's rows are few"
            if minable.chosen is not None
            else f"the store has no {modality} index, which `clipmine index {store.path} --modality {modality}` builds"
        )
        how = f"{modality} neighbours came from an exact scan: {why}"
    write_array(mine, f"{modality}_anchors.npy", anchors)
    if minable.chosen is not None:
        write_array(mine, "chosen.npy", minable.chosen)
    bounds = [*range(0, len(anchors), CHUNK_ANCHORS), len(anchors)]
    chunks = [(first, last) for first, last in pairwise(bounds) if last > first]
    searched = [
        NearItem(f"{modality}_{number:04d}_{part:04d}", modality, shard, ef_search, start, stop, first, last, k)
        for number, (shard, ef_search, start, stop) in enumerate(shards)
        for part, (first, last) in enumerate(chunks)
    ]
    map_items(search_item, searched, f"mine {mine.strategy}: {modality} neighbours")
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
    map_items(merge_group, groups, f"mine {mine.strategy}: merge {modality} neighbours")
    found = [read_answers(mine, f"merged_{item.name}.npz") for item in merges]
    ids = np.concatenate([np.empty((0, k), np.int64), *(ids for ids, _ in found)])
    similarity = np.concatenate([np.empty((0, k), np.float32), *(scores for _, scores in found)])
    return Nearest(anchors, ids, similarity, how)


def _index(store: EmbeddingStore, modality: Modality) -> HnswIndex | None:
    """The store's index; None where it has none. StoreInvalid when it does not fit the store."""
    if modality == "text" and not store.has_text:
        raise BadInput(f"{store.path}: has no text embeddings; embed with captions, or leave this strategy out")
    return open_index(store, modality) if has_index(store, modality) else None


def _enough(mine: Mining, index: HnswIndex, anchors: RowIds, k: int) -> tuple[int, str]:
    """The least efSearch that finds enough for these anchors, and a sentence's end that says how much."""
    most = max(index.ef_search, 2 * k)
    if not len(anchors):
        return most, "is the index's own"
    tried = anchors[np.sort(mine.random("efSearch").choice(len(anchors), min(TRIED, len(anchors)), replace=False))]
    known = index.search_rows(tried, k, most)[0][:, -1]
    for ef_search in sorted({k, *EF_SEARCH}):
        if not k <= ef_search < most:
            continue
        scores, _ = index.search_rows(tried, k, ef_search)
        # By score, not by row: any of several rows as near as the last one is as good.
        share = float((scores >= known[:, None] - 1e-6).mean())
        if share >= ENOUGH:
            return ef_search, f"finds {share:.3f} of what {most} finds for {len(tried)} of the rows"
    return most, f"is the least that finds {ENOUGH} of the nearest"
