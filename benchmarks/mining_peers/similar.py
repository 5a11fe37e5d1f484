"""The neighbours that `similar` finds through the index, beside exact all-pairs search."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.synthetic_store import make_store
from index.graph.build import IndexConfig, build_index_item, finish_index, plan_index_items
from index.graph.search_index import has_index
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import MiningConfig, MiningContext, in_process
from mining.strategies.minable import Minable
from mining.strategies.neighbors.nearest import nearest
from retrieval.search.scan import scan

K = 10
SHARE = 10  # exact neighbours are computed for one row in SHARE


def similar(folder: Path, rows: int) -> dict[str, float]:
    """Recall and seconds of the neighbours of every row, by the index and by exact search."""
    store, build_seconds = indexed_store(folder / f"store_{rows}", rows)
    asked = np.sort(np.random.default_rng(1).choice(rows, rows // SHARE, replace=False))
    store.gather("image", np.arange(rows)).max()  # in memory for both
    true, exact_seconds, exact_cpu = exact(store, asked[::2])
    with tempfile.TemporaryDirectory() as work:
        ctx = MiningContext(MiningConfig(str(store.path), "", (("similar", 1.0),)), "similar", 0, work)
        started, busy = time.monotonic(), time.process_time()
        near = nearest(ctx, in_process(ctx), Minable(store), "image", np.arange(rows), K)
        our_seconds, our_cpu = time.monotonic() - started, time.process_time() - busy
    more, more_seconds, more_cpu = exact(store, asked[1::2])
    hits = right(near.ids[asked[::2]], true) + right(near.ids[asked[1::2]], more)
    exact_seconds, exact_cpu = (exact_seconds + more_seconds) * SHARE, (exact_cpu + more_cpu) * SHARE
    print(near.how)
    figures = {
        "similar_rows": rows,
        "similar_recall": round(hits / (len(asked) * K), 4),
        "similar_seconds": round(our_seconds, 1),
        "similar_exact_seconds": round(exact_seconds, 1),
        "similar_times_faster": round(exact_seconds / our_seconds, 1),
        "similar_cpu_times_less": round(exact_cpu / our_cpu, 1),
        "similar_build_seconds": round(build_seconds, 1),
    }
    print(
        f"similar: {rows:,} x {store.dim}, {K} nearest of every row: recall {figures['similar_recall']:.3f}, "
        f"{our_seconds:.1f} s against {exact_seconds:.0f} s ({figures['similar_times_faster']:.1f} times; "
        f"{figures['similar_cpu_times_less']:.1f} by processor time, which other programs disturb less); "
        f"the index was built in {build_seconds:.0f} s"
    )
    return figures


def exact(store: EmbeddingStore, asked: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], float, float]:
    """The K nearest rows [n, K] of the rows `asked` by exact search, with its elapsed and its processor seconds."""
    started, busy = time.monotonic(), time.process_time()
    _, ids = scan(store, "image", store.gather("image", asked), K + 1, device="cpu")
    seconds, cpu = time.monotonic() - started, time.process_time() - busy
    return without_itself(ids, asked), seconds, cpu


def indexed_store(folder: Path, rows: int) -> tuple[EmbeddingStore, float]:
    """The store with its image index, and the seconds that building the index took."""
    note = folder / "build_seconds.json"
    if not note.exists():
        folder.mkdir(parents=True, exist_ok=True)
        store = EmbeddingStore.open(folder) if (folder / "manifest.json").exists() else make_store(folder, rows)[0]
        config = IndexConfig(str(folder), queries=200)
        started = time.monotonic()
        if not has_index(store, "image"):
            for item in plan_index_items(config):
                build_index_item(item, config)
        seconds = time.monotonic() - started
        contract = finish_index(config).recall
        print(f"built in {seconds:.0f} s; contract: {contract.sentence() if contract else ''}", flush=True)
        note.write_text(json.dumps(seconds))
    return EmbeddingStore.open(folder), float(json.loads(note.read_text()))


def without_itself(ids: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The K nearest rows [n, K] among the K + 1 found, without the row itself."""
    others = [
        [each for each in found if each != row][:K] for found, row in zip(ids.tolist(), rows.tolist(), strict=True)
    ]
    return np.array(others, np.int64)


def right(found: npt.NDArray[np.int64], true: npt.NDArray[np.int64]) -> int:
    """The number of true neighbours [n, K] that are among those found [n, K]."""
    return int((found[:, :, None] == true[:, None, :]).any(axis=1).sum())
