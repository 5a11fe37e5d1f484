"""Search: queries/s through `Retriever` over raw faiss calls on the same graph at the same efSearch.

Run as: python benchmarks/search_overhead.py [--quick]

Vectors as CLIP's lie (clusters, a gap between the modalities), one HNSW shard, text->image queries. Raw faiss gets the
queries as contiguous fp32 and one prepared parameter object; `Retriever` gets the same vectors and checks, plans and
returns row ids. The two alternate, and the median of the ratios of neighbouring runs counts: a machine's mood hits both.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt

from index.build_index import IndexConfig, build_index_item, finish_index, plan_index_items
from index.hnsw import open_graph
from index.manifest import FileRecord, Manifest, Part, part_paths, write_manifest
from index.metadata import METADATA_SCHEMA, parquet_bytes
from index.store import EmbeddingStore
from retrieval.search import Retriever

K = 10
TARGETS = {1: 0.85, 64: 0.95, 4_096: 0.95}
# Calls that make one timing: long enough (some 20 ms) for the clock and the scheduler, short enough to alternate often.
CALLS = {1: 100, 64: 4, 4_096: 1}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 rows and fewer rounds: about a minute on 2 cores")
    quick = parser.parse_args().quick
    rows, rounds = (20_000, 41) if quick else (200_000, 101)
    import faiss

    print(f"{platform.machine()}, {faiss.omp_get_max_threads()} threads, faiss {faiss.__version__}; {rows:,} x 512")
    with tempfile.TemporaryDirectory() as folder:
        store, texts = make_store(Path(folder), rows)
        config = IndexConfig(str(store.path), queries=200)
        for item in plan_index_items(config):
            build_index_item(item, config)
        contract = finish_index(config).recall
        print(contract.sentence())
        figures = measure(store, texts, contract.ef_search, rounds)
    targets = {f"ratio_batch_{batch}": target for batch, target in TARGETS.items()}
    holds = all(figures[name] >= target for name, target in targets.items())
    print(json.dumps({"name": "search_overhead", "figures": figures, "targets": targets, "holds": holds}))
    return 0


def measure(
    store: EmbeddingStore, texts: npt.NDArray[np.float32], ef_search: int, rounds: int
) -> dict[str, float]:
    """Queries/s of both and their ratio, for each batch size."""
    import faiss

    graph = open_graph(store.path / "index" / "image" / "shard_0000.faiss")
    parameters = faiss.SearchParametersHNSW(efSearch=ef_search)
    retriever = Retriever(store)
    figures: dict[str, float] = {"ef_search": ef_search, "k": K}
    for batch, calls in CALLS.items():
        starts = [number * batch % (len(texts) - batch + 1) for number in range(calls)]

        def raw(starts: list[int] = starts, batch: int = batch) -> None:
            for start in starts:
                graph.search(texts[start : start + batch], K, params=parameters)

        def ours(starts: list[int] = starts, batch: int = batch) -> None:
            for start in starts:
                retriever.search(texts[start : start + batch], K, "t2i", "hnsw")

        # The rows must be the same, or it is no comparison.
        expected = graph.search(texts[:batch], K, params=parameters)[1]
        assert np.array_equal(retriever.search(texts[:batch], K, "t2i", "hnsw").row_ids, expected)
        ratios, raw_times, our_times = [], [], []
        for number in range(rounds):
            pair = {}
            for name, call in ((("raw", raw), ("ours", ours)) if number % 2 else (("ours", ours), ("raw", raw))):
                pair[name] = timed(call)
            ratios.append(pair["raw"] / pair["ours"])
            raw_times.append(pair["raw"])
            our_times.append(pair["ours"])
        figures[f"ratio_batch_{batch}"] = round(statistics.median(ratios), 3)
        figures[f"faiss_queries_per_second_batch_{batch}"] = round(batch * calls / statistics.median(raw_times))
        figures[f"retriever_queries_per_second_batch_{batch}"] = round(batch * calls / statistics.median(our_times))
    return figures


def timed(call: Callable[[], None]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def make_store(folder: Path, rows: int) -> tuple[EmbeddingStore, npt.NDArray[np.float32]]:
    """A store of clustered images and captions, and 8,192 captions (or all) as queries."""
    import pyarrow as pa

    rng = np.random.default_rng(0)
    centers, gap = rng.normal(size=(200, 512)), rng.normal(size=(2, 512))
    shared = centers[rng.integers(0, 200, rows)] + 0.9 * rng.normal(size=(rows, 512))
    paths, files = part_paths(0), {}
    vectors = []
    for kind, side in (("image", gap[0]), ("text", gap[1])):
        wide = shared + 0.9 * rng.normal(size=(rows, 512)) + 1.5 * side
        vectors.append((wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16))
        target = folder / paths[kind]  # type: ignore[index]  # mypy widens the tuple of literals
        target.parent.mkdir()
        np.save(target, vectors[-1])
        files[kind] = FileRecord(paths[kind], target.stat().st_size, None)  # type: ignore[index]
    columns = {
        field.name: pa.array([str(row) for row in range(rows)] if field.name == "key" else [None] * rows, field.type)
        for field in METADATA_SCHEMA
    }
    metadata = folder / paths["metadata"]
    metadata.parent.mkdir()
    metadata.write_bytes(parquet_bytes(pa.table(columns, schema=METADATA_SCHEMA)))
    files["metadata"] = FileRecord(paths["metadata"], metadata.stat().st_size, None)
    write_manifest(
        str(folder),
        Manifest(
            kind="embedded",
            dim=512,
            dtype="float16",
            unit_length=True,
            model={"name": "synthetic", "dim": 512},
            corpus_root=None,
            parts=(Part("0000", 0, rows, rows, files),),
        ),
    )
    return EmbeddingStore.open(folder), vectors[1][:8_192].astype(np.float32)


if __name__ == "__main__":
    raise SystemExit(main())
