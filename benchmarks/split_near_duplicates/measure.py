"""Draw and embed scenes, pair them, and split the pairs by equal files and by vectors."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import clipmine
import scenes
from mining.sets.image_sets import ImageSets
from mining.sets.near_images import NEAR_DUPLICATES
from mining.sets.sources import store_source
from mining.sets.store_members import members_table, mined_set_ids
from mining.sets.write_sets import write_image_sets
from scenes.tars import write_split

__all__ = ["measured"]

SHARES = {"train": 0.9, "test": 0.1}


def measured(count: int) -> dict[str, Any]:
    """The figures for `count` scenes.

    "PAIRS, SPLIT": [test images with a near-duplicate in train, test images, test sets]. "PAIRS, asked": the number of
    sets that test should have.
    """
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_split("corpus", f"{folder}/tars", count, shard_size=1_000)
        model = Path(scenes.__file__).parent / "models" / "clip"
        store = clipmine.embed(f"{folder}/tars", f"{folder}/store", model_dir=model)
        vectors = store.gather("image", np.arange(store.rows)).astype(np.float32)
        for name, pairs in (("random", random_pairs(store.rows)), ("neighbours", neighbours(vectors))):
            sets = write_pairs(store, pairs, f"{folder}/{name}")
            for how, limit in (("by files", None), ("by vectors", NEAR_DUPLICATES)):
                started = time.process_time()
                split = sets.split(SHARES, 0, limit)
                seconds = time.process_time() - started
                sides = [np.unique([row for each in part for row in each.rows]) for part in split.values()]
                close = int(((vectors[sides[1]] @ vectors[sides[0]].T).max(axis=1) >= NEAR_DUPLICATES).sum())
                print(f"{name}, {how}: {split}\n  {close} of {len(sides[1])} test images; {seconds:.2f} s")
                figures[f"{name}, {how}"] = [close, len(sides[1]), len(split["test"])]
                figures[f"{name}, asked"] = round(len(sets) * SHARES["test"])
    return figures


def random_pairs(rows: int) -> npt.NDArray[np.int64]:
    """int64 [rows // 2, 2]: all rows, paired at random."""
    pairs: npt.NDArray[np.int64] = np.random.default_rng(0).permutation(rows)[: rows // 2 * 2].reshape(-1, 2)
    return pairs


def neighbours(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Each image with the one that is nearest to it and below the limit."""
    cosine = vectors @ vectors.T
    cosine[cosine >= NEAR_DUPLICATES] = -1
    both = np.stack([np.arange(len(vectors)), cosine.argmax(axis=1)], axis=1)
    pairs: npt.NDArray[np.int64] = np.unique(np.sort(both, axis=1), axis=0)
    return pairs


def write_pairs(store: clipmine.EmbeddingStore, pairs: npt.NDArray[np.int64], out: str) -> ImageSets:
    """Write pairs of rows, int64 [n, 2], as image sets to `out`."""
    source, rows = store_source(store, out), pa.array(pairs.tolist(), pa.list_(pa.int64()))
    ids = mined_set_ids(source.name, rows)
    sets = pa.table({"set_id": ids, "strategy": ["pairs"] * len(pairs), "size": [2] * len(pairs)})
    return write_image_sets(out, sets, members_table(store, source.name, ids, rows), [source], {})
