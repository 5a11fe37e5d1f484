"""Shards by meaning: recall@10 against the share of the shards that captions visit, beside shards of consecutive rows.

    python -m benchmarks.visited_shards [--quick] [--generator scenes|gap] [--rows N] [--shards N] [--dim N]
        [--scenes FOLDER]

One store is indexed twice, with `--layout rows` and `--layout meaning`, for a recall@10 of 0.95. Captions that are not
in the store search it in batches of 1,000; the margins were chosen with captions of the store. For margins from the
contract's curve it prints the share of the shards that they visit, the recall, and the processor time of a query; then
the same for both indexes as they are searched by default, for 10, 100 and 1,000 rows. The vectors are those of
`benchmarks.index_peers` (20,000 scenes, or 50,000 synthetic ones with a modality gap).
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported inside functions, so that --help starts fast
    import numpy as np
    import numpy.typing as npt

    from benchmarks.index_peers.vectors import Vectors
    from index.graph.search_index import HnswIndex
    from index.graph.visits import Visits
    from index.store.embedding_store import EmbeddingStore

RECALL, KS, TURNS = 0.95, (10, 100, 1_000), 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2,000 scenes or 5,000 synthetic rows; not for 1,000 rows")
    parser.add_argument("--generator", choices=("scenes", "gap"), default="gap")
    parser.add_argument("--rows", type=int, help="rows of the store")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--dim", type=int, default=512, help="first components of the vectors, scaled to unit length")
    parser.add_argument("--scenes", type=Path, metavar="FOLDER", help="keep the scenes' vectors here for other runs")
    options = parser.parse_args()
    import faiss

    from benchmarks.index_peers.vectors import gap_vectors, scene_vectors

    rows = options.rows or {"scenes": (20_000, 2_000), "gap": (50_000, 5_000)}[options.generator][options.quick]
    queries, ks = 1_000, KS[:2] if options.quick else KS
    with tempfile.TemporaryDirectory() as folder:
        keep = options.scenes or Path(folder) / "scenes"
        made = scene_vectors(rows, keep, queries) if options.generator == "scenes" else gap_vectors(rows, queries)
        made = replace(made, **{name: first_components(each, options.dim) for name, each in asdict(made).items()})
        print(f"{platform.machine()}, {faiss.omp_get_max_threads()} threads; {options.generator}, {rows:,} rows")
        figures = compare(Path(folder) / "store", made, options.shards, ks)
    print(json.dumps({"name": "visited_shards", "figures": figures, "targets": {}, "holds": True}))
    return 0


def compare(folder: Path, made: Vectors, shards: int, ks: tuple[int, ...]) -> dict[str, float]:
    """Index one store in both ways, print what searches find and take, and return it by name."""
    import numpy as np

    from index.graph.exact import exact_top_k
    from index.graph.search_index import open_index

    store = make_store(folder, made)
    queries = made.queries.astype(np.float32)
    truth, truth_ids = exact_top_k(store.blocks("image"), queries, min(ks[-1], store.rows))
    figures: dict[str, float] = {}
    for layout in ("rows", "meaning"):
        summary, seconds = build_index(store, layout, -(-store.rows // shards))
        print(f"layout {layout}: {shards} shards, built and measured in {seconds:.1f} s; {summary}")
        figures[f"{layout}_build_seconds"] = round(seconds, 1)
        index = open_index(store, "image")
        if index.visits is not None:
            show_curve(index, queries, truth)
            show_fixed(index.visits, queries, truth_ids[:, :10])
        for k in (k for k in ks if k <= store.rows // 2):
            share, recall, time_of_one = measure(index, queries, truth, k)
            print(f"{layout:8} k {k:5,}: {share:4.0%} of the shards, recall {recall:.3f}, {time_of_one * 1e6:,.0f} us")
            figures |= {f"{layout}_recall_at_{k}": round(recall, 4), f"{layout}_us_at_{k}": round(time_of_one * 1e6, 1)}
            figures[f"{layout}_share_at_{k}"] = round(share, 4)
    return figures


def first_components(vectors: npt.NDArray[np.float16], dim: int) -> npt.NDArray[np.float16]:
    """The first `dim` components of each row, scaled to unit length."""
    import numpy as np

    short = vectors[:, :dim].astype(np.float32)
    unit: npt.NDArray[np.float16] = (short / np.linalg.norm(short, axis=1, keepdims=True)).astype(np.float16)
    return unit


def make_store(folder: Path, made: Vectors) -> EmbeddingStore:
    """A store of the vectors, in the layout that clip-retrieval writes."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from index.store.adopt import adopt_store
    from index.store.embedding_store import EmbeddingStore

    for kind, vectors in (("img_emb", made.images), ("text_emb", made.captions)):
        (folder / kind).mkdir(parents=True)
        np.save(folder / kind / f"{kind}_0.npy", vectors)
    (folder / "metadata").mkdir()
    numbers = [str(number) for number in range(len(made.images))]
    pq.write_table(pa.table({"caption": numbers}), folder / "metadata" / "metadata_0.parquet")
    adopt_store(folder)
    return EmbeddingStore.open(folder)


def build_index(store: EmbeddingStore, layout: str, shard_rows: int) -> tuple[str, float]:
    """The recall contract in a line, and the processor time of the build and of its measurement."""
    from index.graph.build import (
        IndexConfig,
        build_index_item,
        finish_index,
        prepare_layout,
        undone_index_items,
    )

    config = IndexConfig(str(store.path), "image", shard_rows=shard_rows, layout=layout, recall=RECALL)
    start = time.process_time()
    prepare_layout(config, lambda function, items, work, label: [function(item, work) for item in items])
    for item in undone_index_items(config):
        build_index_item(item, config)
    summary = finish_index(config)
    return summary.recall.sentence(), time.process_time() - start


def show_curve(index: HnswIndex, queries: npt.NDArray[np.float32], truth: npt.NDArray[np.float32]) -> None:
    """Recall of searches with other margins, at the contract's efSearch and at 128."""
    visits, contract = index.visits, index.recall
    assert visits is not None
    assert contract is not None
    assert contract.visits is not None
    chosen = visits.margins
    if chosen is None:
        print("all shards are visited: fewer do not reach the recall")
        return
    ef = contract.ef_search
    print(f"shards visited   recall@10 at efSearch {ef}   at 128   time of a query at {ef}")
    try:
        for point in contract.visits.curve:
            visits.margins = replace(chosen, at_10=point.margin, at_100=point.margin)
            share, recall, seconds = measure(index, queries, truth, 10)
            best = measure(index, queries, truth, 10, 128)[1]
            print(f"{share:14.1%}   {recall:<10.3f}   {best:.3f}   {seconds * 1e6:,.0f} us")
    finally:
        visits.margins = chosen


def show_fixed(visits: Visits, queries: npt.NDArray[np.float32], truth_ids: npt.NDArray[np.int64]) -> None:
    """Of the 10 best rows, the share in the shards that are visited: by margins, and if all queries visited as many."""
    import numpy as np

    holder = np.empty_like(truth_ids)
    for number, (listed, _) in enumerate(visits.lists):
        holder[np.isin(truth_ids, listed)] = number
    scores = visits.scores(queries)
    own = np.take_along_axis(scores, holder, axis=1)
    rank = np.array([(scores > own[:, [column]]).sum(axis=1) for column in range(own.shape[1])]).T
    gaps = np.sort((scores.max(axis=1, keepdims=True) - scores).ravel())
    print("shards a query   10 best rows in them: the nearest shards   those within a margin")
    for count in range(1, visits.shards + 1):
        margin = gaps[count * len(queries) - 1]
        within = (own >= scores.max(axis=1, keepdims=True) - margin).mean()
        print(f"{count:14}   {(rank < count).mean():.3f}   {within:.3f}")


def measure(
    index: HnswIndex, queries: npt.NDArray[np.float32], truth: npt.NDArray[np.float32], k: int, ef: int | None = None
) -> tuple[float, float, float]:
    """The share of the shards that are visited, recall@k, and the processor time of a query in a batch."""
    from index.graph.recall import recall_at

    share = 1.0 if index.visits is None else float(index.visits.chosen(queries, k).mean())
    times = []
    for _ in range(TURNS):
        start = time.process_time()
        scores, _ = index.search(queries, k, ef)
        times.append(time.process_time() - start)
    return share, recall_at(truth, scores, k), min(times) / len(queries)


if __name__ == "__main__":
    raise SystemExit(main())
