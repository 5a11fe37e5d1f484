"""Test images that have a near-duplicate in train, in splits by equal files alone and in splits by vectors.

Run as: python -m benchmarks.split_near_duplicates [--quick] [--scenes N]

Scenes are drawn, embedded with the small CLIP and paired at random and with their nearest neighbours below the limit.
Both sets of pairs are cut 9 : 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
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

TARGETS = {"test images with a near-duplicate in train": 0, "sets in test over asked": 0.8}
SHARES = {"train": 0.9, "test": 0.1}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 scenes")
    parser.add_argument("--scenes", type=int, help="default: 4,000")
    args = parser.parse_args()
    count = args.scenes or (1_000 if args.quick else 4_000)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {count:,} scenes")
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
    names = ("random", "neighbours")
    close = max(figures[f"{name}, by vectors"][0] for name in names)
    met = min(figures[f"{name}, by vectors"][2] / figures[f"{name}, asked"] for name in names)
    worst = dict(zip(TARGETS, (close, round(met, 3)), strict=True))
    holds = close == 0 and met >= 0.8
    report = {"name": "split_near_duplicates", "figures": {**figures, **worst}, "targets": TARGETS, "holds": holds}
    print(json.dumps(report))
    return 0 if holds else 1


def random_pairs(rows: int) -> npt.NDArray[np.int64]:
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
    source, rows = store_source(store, out), pa.array(pairs.tolist(), pa.list_(pa.int64()))
    ids = mined_set_ids(source.name, rows)
    sets = pa.table({"set_id": ids, "strategy": ["pairs"] * len(pairs), "size": [2] * len(pairs)})
    return write_image_sets(out, sets, members_table(store, source.name, ids, rows), [source], {})


if __name__ == "__main__":
    raise SystemExit(main())
