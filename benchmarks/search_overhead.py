"""Search: queries/s through `Retriever` beside raw faiss calls on the same graph at the same efSearch.

Run as: python -m benchmarks.search_overhead [--quick] [--rows 50000]

The vectors are those of `synthetic_store.py` in one HNSW shard; queries are captions that search for images, with the
efSearch that reaches recall@10 0.95. Raw faiss gets the queries as contiguous float32 and one prepared parameter
object; `Retriever` gets the same vectors, checks them, plans the search and returns row ids. The two take turns call by
call, each on other queries (with the same ones the second would find the visited nodes in the cache), and medians of
processor time are compared, so that other programs on the machine slow both and outliers do not count.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported inside functions, so that --help starts fast
    import numpy as np
    import numpy.typing as npt

    from index.store.embedding_store import EmbeddingStore

K = 10
TARGETS = {1: 0.85, 64: 0.95, 4_096: 0.95}
# Calls of each, for each batch size; twice as many without --quick.
CALLS = {1: 4_000, 64: 150, 4_096: 6}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 rows and fewer calls: about a minute on 2 cores")
    parser.add_argument("--rows", type=int, help="rows of the store; 50,000 (20,000 with --quick)")
    arguments = parser.parse_args()
    rows, times = arguments.rows or (20_000 if arguments.quick else 50_000), 1 if arguments.quick else 2
    import faiss

    from benchmarks.synthetic_store import make_store
    from index.graph.build import IndexConfig, build_index_item, finish_index, plan_index_items

    print(f"{platform.machine()}, {faiss.omp_get_max_threads()} threads, faiss {faiss.__version__}; {rows:,} x 512")
    with tempfile.TemporaryDirectory() as folder:
        store, texts = make_store(Path(folder), rows)
        config = IndexConfig(str(store.path), queries=200)
        for item in plan_index_items(config):
            build_index_item(item, config)
        contract = finish_index(config).recall
        print(contract.sentence(), flush=True)
        figures = measure(store, texts, contract.ef_search, times)
    targets = {f"ratio_batch_{batch}": target for batch, target in TARGETS.items()}
    holds = all(figures[name] >= target for name, target in targets.items())
    print(json.dumps({"name": "search_overhead", "figures": figures, "targets": targets, "holds": holds}))
    return 0


def measure(store: EmbeddingStore, texts: npt.NDArray[np.float32], ef_search: int, times: int) -> dict[str, float]:
    """Queries/s of both and their ratio, for each batch size."""
    import faiss
    import numpy as np

    from retrieval.search.retriever import Retriever

    retriever = Retriever(store)
    index = retriever.index("image")
    assert index is not None
    (graph,) = index.graphs  # the same memory map: page faults and caches are the same for both
    parameters = faiss.SearchParametersHNSW(efSearch=ef_search)

    def raw(queries: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        rows: npt.NDArray[np.int64] = graph.search(queries, K, params=parameters)[1]
        return rows

    def ours(queries: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        return retriever.search(queries, K, "t2i", "hnsw").row_ids

    figures: dict[str, float] = {"ef_search": ef_search, "k": K}
    for batch, calls in CALLS.items():
        # The comparison is fair only if both find the same rows.
        assert np.array_equal(ours(texts[:batch]), raw(texts[:batch]))
        seconds: dict[str, list[float]] = {"raw": [], "ours": []}
        for number in range(2 * calls * times):
            name, call = ("raw", raw) if number % 2 else ("ours", ours)
            start = number * batch % (len(texts) - batch + 1)
            queries = texts[start : start + batch]
            began = time.process_time()
            call(queries)
            seconds[name].append(time.process_time() - began)
        faiss_time, our_time = statistics.median(seconds["raw"]), statistics.median(seconds["ours"])
        figures[f"ratio_batch_{batch}"] = round(faiss_time / our_time, 3)
        figures[f"faiss_queries_per_second_batch_{batch}"] = round(batch / faiss_time)
        figures[f"retriever_queries_per_second_batch_{batch}"] = round(batch / our_time)
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
