"""Mining beside its peers: `similar`'s neighbours beside exact all-pairs, `overlap` beside Spark ML's MinHashLSH.

Run as: python benchmarks/mining_peers.py [--quick] [--folder DIR] [--captions FILE.tsv] [--half similar|overlap]

`similar`: 200,000 x 512 vectors as CLIP's lie, every row an anchor, its 10 nearest rows. Ours is what the strategy runs
(`mining.strategies.neighbors.nearest`, both its maps and their files), with the index at hand; the build's time is printed beside
it. Exact is `retrieval.search.scan`: a blocked matrix product on all cores with the best ten kept, for 1 row in 10, and its
time times ten, half of it before and half after ours, so that what else the machine does hits both. Recall is the share
of the true ten nearest that were found. `overlap`: see benchmarks/mining_peers_overlap.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import numpy.typing as npt
from search_overhead import make_store

from index.graph.build import IndexConfig, build_index_item, finish_index, plan_index_items
from index.graph.search_index import has_index
from index.store.embedding_store import EmbeddingStore
from mining.strategies.anchors import Minable
from mining.strategies.context import Mining, MiningConfig, in_process
from mining.strategies.neighbors import nearest
from retrieval.search.scan import scan

K = 10
TARGETS = {"similar_recall": 0.95, "similar_times_faster": 20.0}
# Comparing all is quadratic: with a tenth of the rows it is nearer.
QUICK_TARGETS = {"similar_recall": 0.95, "similar_times_faster": 4.0}
# Exact neighbours are computed of one row in so many.
SHARE = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="20,000 rows and fewer captions: a minute or two on 2 cores"
    )
    parser.add_argument("--folder", type=Path, help="keep the vectors and their index here, and use them again")
    parser.add_argument("--half", choices=["similar", "overlap", "both"], default="both")
    parser.add_argument("--captions", type=Path, help="real captions for `overlap`: image, caption_no, caption")
    args = parser.parse_args()
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores")
    figures: dict[str, Any] = {}
    targets: dict[str, float] = {}
    if args.half != "overlap":
        targets |= QUICK_TARGETS if args.quick else TARGETS
        with tempfile.TemporaryDirectory() as folder:
            figures |= similar(args.folder or Path(folder), 20_000 if args.quick else 200_000)
    if args.half != "similar":
        from mining_peers_overlap import TARGETS as OVERLAP_TARGETS
        from mining_peers_overlap import overlap

        targets |= OVERLAP_TARGETS
        figures |= overlap(args.quick, args.captions)
    holds = all(figures[name] >= target for name, target in targets.items())
    print(json.dumps({"name": "mining_peers", "figures": figures, "targets": targets, "holds": holds}))
    return 0


def similar(folder: Path, rows: int) -> dict[str, float]:
    """The neighbours of every row by the index and by comparing all: recall, seconds, and the index's build."""
    store, build_seconds = indexed_store(folder / f"store_{rows}", rows)
    asked = np.sort(np.random.default_rng(1).choice(rows, rows // SHARE, replace=False))
    store.gather("image", np.arange(rows)).max()  # in memory for both
    true, exact_seconds, exact_cpu = exact(store, asked[::2])
    with tempfile.TemporaryDirectory() as work:
        mine = Mining(MiningConfig(str(store.path), "", (("similar", 1.0),)), "similar", 0, work)
        started, busy = time.monotonic(), time.process_time()
        near = nearest(mine, in_process(mine), Minable(store), "image", np.arange(rows), K)
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
    """The K nearest rows of each row asked, found by comparing with all; the seconds that took, and of processors."""
    started, busy = time.monotonic(), time.process_time()
    _, ids = scan(store, "image", store.gather("image", asked), K + 1, device="cpu")
    seconds, cpu = time.monotonic() - started, time.process_time() - busy
    return without_itself(ids, asked), seconds, cpu


def indexed_store(folder: Path, rows: int) -> tuple[EmbeddingStore, float]:
    """The store with its image index, and how long the build took (when it was built)."""
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
    """The K nearest [n, K] of K + 1 found, each row's own left out."""
    others = [
        [each for each in found if each != row][:K] for found, row in zip(ids.tolist(), rows.tolist(), strict=True)
    ]
    return np.array(others, np.int64)


def right(found: npt.NDArray[np.int64], true: npt.NDArray[np.int64]) -> int:
    """How many of the true neighbours [n, K] are among those found [n, K]."""
    return int((found[:, :, None] == true[:, None, :]).any(axis=1).sum())


if __name__ == "__main__":
    raise SystemExit(main())
