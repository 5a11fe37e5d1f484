"""`clipmine serve` beside clip-retrieval's own back end: the same vectors, graph, efSearch, encoder and load, in turns.

Run as: python -m benchmarks.service_peers [--quick] [--peer-python PATH]

The peer runs in an environment of its own, built under ~/.cache/clipmine-benchmarks at the first run (clip-retrieval
needs numpy below 2). Both serve 50,000 x 512 vectors from a memory-mapped HNSW graph and return 40 results with url,
caption and key; the load comes from a third process. Both run all the time and are loaded in turn, as is the bare
encoder, so that other programs on the machine slow all three; the medians of the turns are compared. Our service is
loaded through its own API (`POST /search`) and through the peer's (`POST /knn-service`).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

TARGETS = {
    "embedding_32_clients_ratio": 20.0,
    "text_32_clients_ratio": 2.5,
    "text_32_clients_over_bare_encoder": 0.8,
    "concepts_ratio": 50.0,
    "embedding_1_client_ratio": 1.0,
}
AT_MOST = {"embedding_32_clients_p99_over_p50": 4.0, "memory_over_encoder_mb": 300.0}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 rows, short loads, fewer concepts for the peer")
    parser.add_argument("--peer-python", type=Path, help="the Python of an environment that has clip-retrieval")
    args = parser.parse_args()
    from benchmarks.service_peers.data import prepare
    from benchmarks.service_peers.measure import CONCEPTS, TEMPLATES, K, check_same_rows, concept_list, measure
    from benchmarks.service_peers.services import encoder_memory_mb, memory_mb, peer_environment, running

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for the bare encoder, as `clipmine serve` does
    peer_python = args.peer_python or peer_environment()
    rows, seconds, turns = (20_000, 4.0, 2) if args.quick else (50_000, 10.0, 3)
    print(f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores; {rows:,} x 512, k {K}")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as services:
        served = prepare(Path(folder), rows)
        ours_command = [sys.executable, "-m", "jobs.cli", "serve", str(served.store)]
        peer_command = [str(peer_python), str(Path(__file__).with_name("clip_retrieval_back.py")), str(served.peer)]
        ours, our_pid = services.enter_context(running(ours_command, "/readyz", "--port"))
        peer, _ = services.enter_context(running(peer_command, "/indices-list"))
        check_same_rows(ours, peer, served)
        figures = measure(ours, peer, served, seconds, turns)
        figures |= concept_list(ours, peer, served, 300 if args.quick else CONCEPTS * TEMPLATES)
        figures["memory_over_encoder_mb"] = round(memory_mb(our_pid) - encoder_memory_mb(), 1)
    holds = all(figures[name] >= least for name, least in TARGETS.items())
    holds = holds and all(figures[name] <= most for name, most in AT_MOST.items())
    print(json.dumps({"name": "service_peers", "figures": figures, "targets": {**TARGETS, **AT_MOST}, "holds": holds}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
