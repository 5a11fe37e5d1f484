"""One search or one exact scan in a process of its own, whose memory is sampled; started by `index_at_size memory`.

Anonymous memory (heap, stacks, libraries' data) is what the process holds. Pages of mapped files are counted apart: the
system takes them back when it needs memory.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from pathlib import Path


def main() -> int:
    store_path, what, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    peaks = {"RssAnon": 0, "RssFile": 0}
    threading.Thread(target=_sample, args=(peaks,), daemon=True).start()
    import numpy as np

    from index.graph.exact import exact_top_k
    from index.graph.recall import sample_queries
    from index.graph.search_index import open_index
    from index.store.embedding_store import EmbeddingStore

    store = EmbeddingStore.open(store_path)
    _, queries = sample_queries(store, "image", 1_000, seed=1)
    # A step away from each, so that a query is no row of the store.
    queries += 0.05 * np.random.default_rng(1).standard_normal(queries.shape).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    started, cpu = time.monotonic(), time.process_time()
    if what == "scan":
        scores, rows = exact_top_k(store.blocks("image"), queries, 10)
    else:
        index = open_index(store, "image")
        scores, rows = index.search(queries, 10)
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    np.savez(out, scores=scores, rows=rows)
    print(json.dumps({"seconds": seconds, "processor seconds": cpu, **_read(peaks)}))
    return 0


def _read(peaks: dict[str, int]) -> dict[str, int]:
    """The peaks so far, in kB, with what is resident now."""
    text = Path("/proc/self/status").read_text()
    for name in peaks:
        found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
        peaks[name] = max(peaks[name], int(found[1]) if found else 0)
    return peaks


def _sample(peaks: dict[str, int]) -> None:
    while True:
        _read(peaks)
        time.sleep(0.02)


if __name__ == "__main__":
    raise SystemExit(main())
