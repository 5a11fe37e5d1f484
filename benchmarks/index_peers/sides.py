"""What is compared: our index and those of others, each built over the same vectors and searched with the same queries.

autofaiss asks for older versions of numpy than we do, so its choice for such sizes (IndexHNSWFlat, M 32 and faiss's
default efConstruction) is built with faiss itself.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.index_peers.vectors import Vectors

__all__ = ["SIDES", "M", "Side"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

M, EF_CONSTRUCTION = 32, 100
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Side:
    """A built index.

    seconds: processor time of the build. bytes_per_row: size of its file over the rows.
    search: (queries [q, d], k, efSearch) -> row numbers [q, k].
    """

    seconds: float
    bytes_per_row: float
    search: Callable[[Floats, int, int], Ids]


def _ours(vectors: Vectors, codec: str, fitted: bool) -> Side:
    from index.graph.hnsw import HnswSpec, build_graph, search_graph, write_graph
    from index.graph.query_captions import QUERY_STEP
    from index.graph.query_graph import build_query_graph

    images = vectors.images
    spec = HnswSpec(codec, M, EF_CONSTRUCTION)  # type: ignore[arg-type]  # one of its codecs
    began = time.process_time()
    sample = images[:: max(1, len(images) // _BLOCK_ROWS)]
    if fitted:  # with the captions that an index of a store would use
        used = vectors.captions[np.arange(len(images)) % QUERY_STEP != 0]
        graph = build_query_graph(_blocks(images), sample, _blocks(used), spec)
    else:
        graph = build_graph(_blocks(images), sample, spec)
    seconds = time.process_time() - began
    size = _size(lambda path: write_graph(graph, Path(path)))
    return Side(seconds, size / len(images), lambda queries, k, ef: search_graph(graph, queries, k, ef)[1])


def _blocks(vectors: npt.NDArray[np.float16]) -> Iterator[Floats]:
    return (vectors[s : s + _BLOCK_ROWS].astype(np.float32) for s in range(0, len(vectors), _BLOCK_ROWS))


def _faiss_flat(vectors: Vectors) -> Side:
    import faiss

    images = vectors.images.astype(np.float32)
    began = time.process_time()
    graph: Any = faiss.IndexHNSWFlat(images.shape[1], M, faiss.METRIC_INNER_PRODUCT)
    graph.add(images)
    seconds = time.process_time() - began
    size = _size(lambda path: faiss.write_index(graph, path))

    def search(queries: Floats, k: int, ef: int) -> Ids:
        found: Ids = graph.search(queries, k, params=faiss.SearchParametersHNSW(efSearch=ef))[1]
        return found

    return Side(seconds, size / len(images), search)


def _hnswlib(vectors: Vectors) -> Side:
    import hnswlib

    images, threads = vectors.images.astype(np.float32), _threads()
    began = time.process_time()
    graph = hnswlib.Index("ip", images.shape[1])
    graph.init_index(len(images), M=M, ef_construction=EF_CONSTRUCTION)
    graph.set_num_threads(threads)
    graph.add_items(images)
    seconds = time.process_time() - began

    def search(queries: Floats, k: int, ef: int) -> Ids:
        graph.set_ef(ef)
        found: Ids = graph.knn_query(queries, k, num_threads=threads)[0].astype(np.int64)
        return found

    return Side(seconds, _size(graph.save_index) / len(images), search)


def _usearch(vectors: Vectors) -> Side:
    from usearch.index import Index

    images, threads = vectors.images, _threads()
    began = time.process_time()
    graph: Any = Index(ndim=images.shape[1], metric="ip", dtype="f16", connectivity=M, expansion_add=EF_CONSTRUCTION)
    graph.add(np.arange(len(images)), images, threads=threads)
    seconds = time.process_time() - began

    def search(queries: Floats, k: int, ef: int) -> Ids:
        graph.expansion_search = ef
        found: Ids = graph.search(queries.astype(np.float16), k, threads=threads).keys.astype(np.int64)
        return found

    return Side(seconds, _size(graph.save) / len(images), search)


def _threads() -> int:
    import faiss

    return int(faiss.omp_get_max_threads())


def _size(write: Callable[[str], object]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        write(str(path))
        return path.stat().st_size


SIDES: dict[str, Callable[[Vectors], Side]] = {
    "ours": lambda vectors: _ours(vectors, "fp16", True),
    "ours, without captions": lambda vectors: _ours(vectors, "fp16", False),
    "ours, SQ8": lambda vectors: _ours(vectors, "sq8", True),
    "hnswlib": _hnswlib,
    "usearch f16": _usearch,
    "faiss HNSWFlat as autofaiss's": _faiss_flat,
}
