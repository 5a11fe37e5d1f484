"""What this machine builds and searches in a second: a short measurement on vectors made up for it.

The cost of a step in a graph hardly depends on what the vectors are; how many steps a search needs does, so rates of
searches hold for a list of `EF` candidates, and the recall that it gives must be measured on real vectors.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.graph.codecs import CodecName
from index.graph.hnsw import HnswSpec, search_graph
from index.graph.vectors_index import build_in_memory

__all__ = ["EF", "MEASURED_ROWS", "Rates", "made_up", "measure_at", "measure_rates"]

Floats = npt.NDArray[np.float32]

EF = 64
MEASURED_ROWS = (10_000, 40_000)
_QUERIES = 500


@dataclass(frozen=True)
class Rates:
    """Rates of one thread, in its processor time, at two sizes, from which others follow by a power law.

    Attributes:
        rows: the sizes, ascending.
        build_seconds, queries_per_second: at each of them; searches keep `EF` candidates, and do not read the store.
    """

    codec: CodecName
    dim: int
    M: int
    rows: tuple[int, int]
    build_seconds: tuple[float, float]
    queries_per_second: tuple[float, float]

    def seconds_to_build(self, rows: int) -> float:
        """Of one thread, for a shard of so many rows."""
        return _power_law(self.rows, self.build_seconds, rows)

    def queries_in_a_second(self, rows: int) -> float:
        """Of one thread, in a shard of so many rows."""
        return _power_law(self.rows, self.queries_per_second, rows)


def _power_law(sizes: tuple[int, int], values: tuple[float, float], size: int) -> float:
    exponent = math.log(values[1] / values[0]) / math.log(sizes[1] / sizes[0])
    return float(values[1] * (size / sizes[1]) ** exponent)


def measure_rates(codec: CodecName, dim: int, M: int = 32, rows: tuple[int, int] = MEASURED_ROWS) -> Rates:
    """Build and search graphs of so many rows with one thread; half a minute at 512 dimensions.

    The rows are inserted one by one, as in shards without captions; shards with captions are built faster.
    """
    small, large = (measure_at(codec, dim, M, count) for count in rows)
    return Rates(codec, dim, M, rows, (small[0], large[0]), (small[1], large[1]))


def measure_at(codec: CodecName, dim: int, M: int, rows: int) -> tuple[float, float]:
    """Seconds to build an index of so many rows, and queries in a second, of one thread."""
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        vectors, queries = made_up(rows, dim)
        began = time.thread_time()
        index = build_in_memory(vectors, HnswSpec(codec, M, max(HnswSpec.ef_construction, M)))
        built = time.thread_time() - began
        search_graph(index, queries[:50], EF, EF)
        began = time.thread_time()
        search_graph(index, queries, EF, EF)
        return built, len(queries) / (time.thread_time() - began)
    finally:
        faiss.omp_set_num_threads(threads)


def made_up(rows: int, dim: int) -> tuple[Floats, Floats]:
    """Unit vectors [rows, dim] in clusters, and queries beside them, as captions lie beside images."""
    generator = np.random.Generator(np.random.PCG64(5))
    centers = generator.normal(size=(max(rows // 100, 1), dim)).astype(np.float32)
    near = centers[generator.integers(0, len(centers), rows + _QUERIES)]
    vectors = near + 0.8 * generator.standard_normal((rows + _QUERIES, dim), np.float32)
    vectors[rows:] += generator.standard_normal(dim, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[:rows], vectors[rows:]
