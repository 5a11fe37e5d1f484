"""Exact scan: our scan, faiss's two ways to scan, and the bare matrix product, over the same blocks of fp16 rows.

Run as: python -m benchmarks.exact_scan [--quick] [--rows 131072]

Vectors are made up (a few directions matter, as with CLIP's). faiss gets the same blocks, widened to fp32: `faiss.knn`
a block with the results merged by `faiss.ResultHeap`, and `faiss.contrib.exhaustive_search.knn_ground_truth`. The bare
product is numpy's of the same tiles in fp32, and nothing else. Times are of the processor, the best of 3 turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported inside functions, so that --help starts fast
    import numpy as np
    import numpy.typing as npt

QUERIES, DIM, BLOCK = 1_024, 512, 16_384
KS = (10, 1_000)
TARGET = 0.6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="65,536 rows: half a minute on one core")
    parser.add_argument("--rows", type=int, help="131,072 by default")
    arguments = parser.parse_args()
    rows = arguments.rows or (65_536 if arguments.quick else 131_072)
    import faiss
    import torch

    threads = faiss.omp_get_max_threads()
    torch.set_num_threads(threads)
    print(f"{platform.machine()}, {threads} threads, faiss {faiss.__version__}; {rows:,} x {DIM}, {QUERIES:,} queries")
    vectors, queries = _made_up(rows)
    figures: dict[str, float] = {"rows": rows}
    for k in KS:
        seconds = measure(vectors, queries, k)
        for name, taken in seconds.items():
            figures[f"{name}_gflops_k_{k}"] = round(2 * rows * DIM * QUERIES / taken / 1e9, 1)
        figures[f"share_of_product_k_{k}"] = round(seconds["product"] / seconds["ours"], 3)
        best = min(taken for name, taken in seconds.items() if name.startswith("faiss"))
        figures[f"ratio_to_faiss_k_{k}"] = round(best / seconds["ours"], 3)
    targets = {f"share_of_product_k_{k}": TARGET for k in KS}
    holds = all(figures[name] >= target for name, target in targets.items())
    print(json.dumps({"name": "exact_scan", "figures": figures, "targets": targets, "holds": holds}))
    return 0


def measure(vectors: npt.NDArray[np.float16], queries: npt.NDArray[np.float32], k: int) -> dict[str, float]:
    """Seconds of processor time of each way."""
    import faiss
    import numpy as np
    from faiss.contrib.exhaustive_search import knn_ground_truth

    from index.graph.exact import exact_top_k

    tile = vectors[:BLOCK].astype(np.float32)
    scores = np.empty((len(queries), BLOCK), np.float32)

    def blocks(size: int = BLOCK) -> Iterator[tuple[int, npt.NDArray[np.float16]]]:
        return ((first, vectors[first : first + size]) for first in range(0, len(vectors), size))

    def product() -> None:
        for _, block in blocks():
            np.matmul(queries, tile[: len(block)].T, out=scores[:, : len(block)])

    def ours() -> npt.NDArray[np.int64]:
        return exact_top_k(blocks(4 * BLOCK), queries, k)[1]

    def faiss_knn() -> Any:
        heap = faiss.ResultHeap(len(queries), k, keep_max=True)
        for first, block in blocks():
            found, ids = faiss.knn(queries, block.astype(np.float32), min(k, len(block)), faiss.METRIC_INNER_PRODUCT)
            heap.add_result(found, ids + first)
        heap.finalize()
        return heap.I

    def faiss_ground_truth() -> Any:
        wide = (block.astype(np.float32) for _, block in blocks())
        return knn_ground_truth(queries, wide, k, faiss.METRIC_INNER_PRODUCT, shard=False, ngpu=0)[1]

    # The comparison is fair only if all find the same rows, but for scores that differ in the last bits.
    for other in (faiss_knn, faiss_ground_truth):
        assert (np.sort(ours(), 1) == np.sort(other(), 1)).mean() > 0.999
    return {way.__name__: min(_timed(way) for _ in range(3)) for way in (product, ours, faiss_knn, faiss_ground_truth)}


def _timed(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _made_up(rows: int) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]:
    import numpy as np

    rng = np.random.default_rng(0)
    directions = rng.standard_normal((32, DIM), np.float32)
    queries = rng.standard_normal((QUERIES, 32), np.float32) @ directions
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    vectors = np.empty((rows, DIM), np.float16)
    for first in range(0, rows, BLOCK):
        count = min(BLOCK, rows - first)
        wide = rng.standard_normal((count, 32), np.float32) @ directions + rng.standard_normal((count, DIM), np.float32)
        vectors[first : first + count] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return vectors, queries


if __name__ == "__main__":
    raise SystemExit(main())
