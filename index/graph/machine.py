"""What searches cost on this machine: rates of one core and of the disk, measured when a large index was built.

`clipmine index` measures them with the finished index and writes them beside its folder, into image.machine.json or
text.machine.json of STORE/index, with the kind of processor that they hold for. They decide whether a search walks the
index or scans all rows, not what either finds. On another kind of machine, and for small stores, rates of one kind of
server are used.
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from index.files import exists, join, read_bytes, write_atomic
from index.graph.disk import DiskRates, measure_disk
from index.graph.exact import exact_top_k
from index.graph.index_manifest import index_folder, read_index_manifest
from index.graph.search_index import open_index
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = [
    "LEAST_ROWS",
    "SERVER",
    "MachineRates",
    "measure_machine",
    "processor",
    "read_machine",
    "walk_scale",
    "write_machine",
]

# Smaller stores are searched in milliseconds whatever is chosen.
LEAST_ROWS = 100_000
_WALK_ROWS, _WALK_DIM = 100_000, 512
_SCANNED_ROWS, _QUERIES, _SETTLED = 32_768, 256, 8_192
# A candidate list of 1,024 and more takes longer than in proportion: faiss searches it from end to end.
_EFS = (64, 256, 1_024)


@dataclass(frozen=True)
class MachineRates:
    """Rates of one core, and of the disk.

    Attributes:
        walk_seconds, walk_per_ef, walk_per_ef2: a walk through a graph of 100,000 x 512 takes walk_seconds +
            walk_per_ef * efSearch + walk_per_ef2 * efSearch ** 2 seconds; `walk_scale` tells other sizes.
        flops: of matrix products in fp32, a second, the choice of the best rows included.
        scan_bytes: bytes of fp16 vectors in memory that are compared with one query in a second.
        keep_seconds: to keep one of a query's K best rows, and compute its score again.
        disk: of the disk that holds the index.
        processor: that they were measured on; "" for the built-in ones.
    """

    walk_seconds: float
    walk_per_ef: float
    walk_per_ef2: float
    flops: float
    scan_bytes: float
    keep_seconds: float
    disk: DiskRates
    processor: str = ""

    def walk(self, rows: float, dim: int, ef_search: float) -> float:
        """Seconds of one query through a graph of so many rows."""
        own = self.walk_seconds + self.walk_per_ef * ef_search + self.walk_per_ef2 * ef_search**2
        return own * walk_scale(rows, dim)


_NUMBERS = [field.name for field in fields(MachineRates) if field.name not in ("disk", "processor")]

# HNSW fp16, M 32, 100,000 x 512, text->image queries on two cores of an AVX-512 server: 5,680 queries/s at efSearch 64,
# 3,208 at 128, 1,818 at 256. A line through them: 80 us of one core per query, and 4.2 us more per unit of efSearch.
# Matrix products in fp32: 137 GFLOP/s on the same two cores. 100,000 x 512 in fp16 were read, widened and compared with
# one query in 0.1 s. 1,000 queries with K 1,000 took 0.9 s longer than with K 50. The disk's rates are those that
# makers of NVMe drives state at the least, not measured.
SERVER = MachineRates(80e-6, 4.2e-6, 0.0, 68e9, 1e9, 1e-6, DiskRates(1e9, 100e-6))


def walk_scale(rows: float, dim: int) -> float:
    """How much longer a walk takes than in a graph of 100,000 x 512.

    The steps to reach the neighbourhood grow with the logarithm of the rows, the steps within it with efSearch.
    """
    return math.log(max(rows, 100)) / math.log(_WALK_ROWS) * dim / _WALK_DIM


def processor() -> str:
    """The model of the processor, such as "AMD EPYC"; its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def measure_machine(store: EmbeddingStore, modality: Modality) -> MachineRates:
    """Measure with the store's own index and vectors, by the processor's time: some seconds of one core.

    Raises StoreInvalid for an index that does not belong to the store.
    """
    import faiss

    index = open_index(store, modality)
    threads = faiss.omp_get_max_threads()
    step = max(1, store.rows // _QUERIES)
    rows = np.arange(0, store.rows, step)[:_QUERIES]
    queries = store.gather("text" if store.has_text and modality == "image" else modality, rows).astype(np.float32)
    faiss.omp_set_num_threads(1)
    try:
        taken = [_timed(lambda ef=ef: index.search_unchecked(queries, 10, ef)) / len(queries) for ef in _EFS]  # type: ignore[misc]
    finally:
        faiss.omp_set_num_threads(threads)
    visited: float = index.shards
    if index.recall is not None:
        visited = index.recall.visited(index.shards, 10) or index.shards
    scale = walk_scale(store.rows / index.shards, store.dim) * max(visited, 1)
    square, slope, base = _fit([seconds / scale for seconds in taken])
    block = next(store.blocks(modality, min(_SCANNED_ROWS, store.rows)))[1]
    held = np.array(block)

    def scan(count: int, k: int) -> float:
        return _timed(lambda: exact_top_k([(0, held)], queries[:count], k))

    def settle() -> None:  # the scores of the rows that are kept are computed again in float64
        for start in range(0, _SETTLED, 512):
            own = store.gather(modality, np.resize(rows[start % len(rows) :], 512)).astype(np.float64)
            np.einsum("ij,ij->i", own, np.resize(queries, own.shape).astype(np.float64))

    one, many, deep = scan(1, 10), scan(len(queries), 10), scan(len(queries), 1_000)
    operations = 2.0 * held.size * (len(queries) - 1)
    return MachineRates(
        walk_seconds=base,
        walk_per_ef=slope,
        walk_per_ef2=square,
        flops=operations / max(many - one, 1e-3),
        scan_bytes=held.size * 2 / max(one, 1e-4),
        keep_seconds=max(deep - many, 0.0) / (len(queries) * 990) + _timed(settle) / _SETTLED,
        disk=measure_disk(_largest_file(store, modality), SERVER.disk),
        processor=processor(),
    )


def _fit(taken: list[float]) -> tuple[float, float, float]:
    """Factors of efSearch squared, of efSearch, and a constant; none of them negative."""
    low, middle, high = _EFS
    slope = max(taken[1] - taken[0], 0.0) / (middle - low)
    steeper = max(taken[2] - taken[1], 0.0) / (high - middle)
    square = max(steeper - slope, 0.0) / (high - low)
    slope = max(slope - square * (low + middle), 0.0) if square else (taken[2] - taken[0]) / (high - low)
    slope = max(slope, 1e-9)
    return square, slope, max(taken[0] - slope * low - square * low**2, 1e-6)


def _timed(call: Callable[[], object]) -> float:
    """Seconds of the processor; the first call brings pages and code into memory."""
    call()
    began = time.process_time()
    call()
    return time.process_time() - began


def _largest_file(store: EmbeddingStore, modality: Modality) -> Path | None:
    manifest = read_index_manifest(index_folder(store, modality)) if store.is_local else None
    if manifest is None:
        return None
    return index_folder(store, modality) / max(manifest.shards, key=lambda shard: shard.size).file


def _path(store: EmbeddingStore, modality: Modality) -> str:
    """Beside the index's folder, whose files are the same bytes wherever they are built; rates never are."""
    return join(store.path, f"index/{modality}.machine.json")


def write_machine(store: EmbeddingStore, modality: Modality, rates: MachineRates) -> None:
    """Write the rates beside the index."""
    write_atomic(_path(store, modality), json.dumps(asdict(rates), indent=1))


def read_machine(store: EmbeddingStore, modality: Modality) -> MachineRates:
    """The rates that were measured on this kind of machine; SERVER where there are none."""
    path = _path(store, modality)
    try:
        if not exists(path):
            return SERVER
        found = json.loads(read_bytes(path))
        disk = DiskRates(**{name: float(rate) for name, rate in found.pop("disk").items()})
        kind = str(found.pop("processor"))
        own = {name: float(found[name]) for name in _NUMBERS}
    except (OSError, OverflowError, RecursionError, ValueError, TypeError, KeyError, AttributeError):
        return SERVER  # only speed depends on it
    finite = all(math.isfinite(rate) and rate >= 0 for rate in (*own.values(), *asdict(disk).values()))
    if not finite or min(own["walk_seconds"], own["flops"], own["scan_bytes"], disk.bytes_a_second) <= 0:
        return SERVER
    return MachineRates(**own, disk=disk, processor=kind) if kind == processor() else SERVER
