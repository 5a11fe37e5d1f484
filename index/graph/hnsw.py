"""One HNSW graph in faiss: built from blocks of vectors, written to a file, memory-mapped, searched.

Malkov and Yashunin, https://arxiv.org/abs/1603.09320. Scores are inner products of unit vectors. On one machine, the
same blocks give the same bytes with any number of threads (see `_threads_for_building`). A node's number is its
position among the rows that were added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput, StoreInvalid
from index.graph.codecs import CodecName, check_codec
from index.graph.inverted_lists import is_lists, search_lists

__all__ = [
    "ADD_ROWS",
    "HnswSpec",
    "build_graph",
    "coded_graph",
    "empty_graph",
    "falls_short",
    "open_graph",
    "search_graph",
    "search_graph_from",
    "usable_rows",
    "write_graph",
]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

# Rows added at once. The graph depends on it, so it is fixed and recorded. It is small beside a shard (128 MB of fp32
# at 512 dimensions) and large enough to keep the threads busy between two of faiss's barriers.
ADD_ROWS = 65_536
# Rows that SQ8 learns its ranges from; the extremes of each component are stable with fewer.
TRAIN_ROWS = 65_536


@dataclass(frozen=True)
class HnswSpec:
    """The parameters of a graph.

    Attributes:
        codec: how vectors are stored. "fp16", as in the store, has the recall of fp32 at half the memory and is faster
            (measured on 100k x 512 at efSearch 64: recall@10 .945 for both, 5,680 against 2,849 queries/s). "sq8"
            stores a component in one byte, "sq4" in half of one (see `index.graph.codecs`); "rabitq" is no graph.
        M: links of a node; twice as many on level 0.
        ef_construction: candidates considered for links; 100 with M 32 reached recall@10 .98 at efSearch 128 on
            text->image queries.
    """

    codec: CodecName = "fp16"
    M: int = 32
    ef_construction: int = 100

    def __post_init__(self) -> None:
        check_codec(self.codec)
        if not 4 <= self.M <= 128:
            raise BadInput(f"M is {self.M}: choose 4 to 128 links (32 is the default)")
        if not self.M <= self.ef_construction <= 2_000:
            raise BadInput(f"efConstruction is {self.ef_construction}: choose {self.M} (M) to 2000")


def usable_rows(vectors: Floats) -> npt.NDArray[np.bool_]:
    """bool [n]: which of the fp32 vectors [n, d] have a direction, so are neither zero (forgotten) nor non-finite."""
    lengths = np.einsum("ij,ij->i", vectors, vectors)
    usable: npt.NDArray[np.bool_] = (lengths > 0) & np.isfinite(lengths)
    return usable


def build_graph(blocks: Iterable[npt.NDArray[Any]], sample: npt.NDArray[Any], spec: HnswSpec) -> Any:
    """Build a faiss index of the usable rows of `blocks`, in their order.

    Args:
        blocks: vectors [n, d], any float dtype. The graph depends on their sizes, see `ADD_ROWS`.
        sample: vectors [m, d] that SQ8 learns its ranges from; unused for others.

    With "sq4" it has fp16 vectors, by which its links are chosen better; `coded_graph` replaces them.
    """
    graph = empty_graph(sample, replace(spec, codec="fp16") if spec.codec == "sq4" else spec)
    with _threads_for_building():
        for block in blocks:
            rows = np.ascontiguousarray(block, np.float32)
            usable = usable_rows(rows)
            rows = rows if usable.all() else rows[usable]
            if len(rows):
                graph.add(rows)
    return graph


def empty_graph(sample: npt.NDArray[Any], spec: HnswSpec) -> Any:
    """A faiss IndexHNSWSQ without nodes; its codec learns its ranges from `sample` [m, d], if it has any."""
    import faiss

    kinds = {
        "fp16": faiss.ScalarQuantizer.QT_fp16,
        "sq8": faiss.ScalarQuantizer.QT_8bit,
        "sq4": faiss.ScalarQuantizer.QT_4bit,
    }
    graph = faiss.IndexHNSWSQ(sample.shape[1], kinds[spec.codec], spec.M, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = spec.ef_construction
    if not graph.is_trained:
        with _threads_for_building():
            graph.train(np.ascontiguousarray(sample, np.float32))
    return graph


def coded_graph(graph: Any, sample: npt.NDArray[Any]) -> Any:
    """The same links over the same vectors in SQ4.

    Args:
        graph: a faiss IndexHNSWSQ with fp16 vectors.
        sample: vectors [m, d] that SQ4 learns its ranges from.
    """
    import faiss

    links = graph.hnsw.nb_neighbors(1)
    coded = faiss.IndexHNSWSQ(graph.d, faiss.ScalarQuantizer.QT_4bit, links, graph.metric_type)
    coded.train(np.ascontiguousarray(sample, np.float32))
    exact, storage = faiss.downcast_index(graph.storage), faiss.downcast_index(coded.storage)
    for start in range(0, graph.ntotal, ADD_ROWS):
        storage.add(exact.reconstruct_n(start, min(ADD_ROWS, graph.ntotal - start)))
    coded.hnsw = graph.hnsw
    coded.ntotal = graph.ntotal
    return coded


@contextmanager
def _threads_for_building() -> Iterator[None]:
    """Let faiss use all threads if it can insert in a fixed order, else one.

    faiss 1.15.1 links batches against a frozen graph and merges them in a fixed order: 1, 2 and 5 threads gave the same
    bytes. Where this is a global switch of faiss, it is on inside the block. In earlier versions the order depended on
    the threads, and every run gave another graph.
    """
    import faiss

    switch = getattr(faiss.cvar, "hnsw_deterministic_build", None)
    threads = faiss.omp_get_max_threads()
    if switch is not None:
        faiss.cvar.hnsw_deterministic_build = True
    elif not hasattr(faiss, "hnsw_add_vertices_deterministic"):
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        if switch is not None:
            faiss.cvar.hnsw_deterministic_build = switch
        faiss.omp_set_num_threads(threads)


def write_graph(graph: Any, path: Path) -> None:
    """Write the index to `path`; making the write atomic is up to the caller."""
    import faiss

    faiss.write_index(graph, str(path))


def open_graph(path: Path) -> Any:
    """Memory-map an index file, read-only: pages are loaded when searches use them, and processes share them.

    Raises:
        StoreInvalid: not a readable HNSW file.
    """
    import faiss

    try:
        graph = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise StoreInvalid(f"{path}: cannot be read as an index; run `clipmine index` again") from error
    if not isinstance(graph, faiss.IndexHNSWSQ) and not is_lists(graph):
        raise StoreInvalid(f"{path}: is not an HNSW index but {type(graph).__name__}; run `clipmine index` again")
    return graph


def search_graph(graph: Any, queries: Floats, k: int, ef_search: int, keep: Any | None = None) -> tuple[Floats, Ids]:
    """The k nearest nodes: scores float32 [q, k] in descending order and node numbers int64 [q, k], -1 where missing.

    Args:
        queries: contiguous float32 [q, d] with the graph's d; neither is checked here.
        ef_search: candidates kept while walking; give at least k, or the last of the k are poor.
        keep: a faiss IDSelector; other nodes are walked through but not returned.
    """
    if is_lists(graph):
        return search_lists(graph, queries, k, ef_search)
    parameters = _parameters(ef_search) if keep is None else _parameters_with(ef_search, keep)
    # As faiss's own `search`, but without its conversions, which take a tenth of a single query's time.
    scores, numbers = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    pointer = _swig_pointers()
    graph.search_c(len(queries), pointer(queries), k, pointer(scores), pointer(numbers), parameters)
    return scores, numbers


def search_graph_from(graph: Any, queries: Floats, starts: Ids, k: int, ef_search: int) -> tuple[Floats, Ids]:
    """As `search_graph`, but each walk starts at the query's own node, and that node is not returned.

    Args:
        starts: int64 [q], the node that holds each query's vector.
        ef_search: may be below k here; the walk ends when so many of the nodes found are nearer than the next.
    """
    nearest = np.ascontiguousarray(starts, np.int32)
    # faiss minimises, so it negates inner products; that of a unit vector with itself is 1.
    distances = np.full(len(queries), -1.0, np.float32)
    scores, numbers = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    pointer = _swig_pointers()
    graph.search_level_0(
        len(queries),
        pointer(queries),
        k,
        pointer(nearest),
        pointer(distances),
        pointer(scores),
        pointer(numbers),
        1,  # starts of a query
        1,  # so there is one walk
        _parameters(ef_search),
    )
    return scores, numbers


def falls_short(ids: Ids) -> bool:
    """Whether any row of ids [q, k] ends in -1, so that fewer than k were found."""
    if len(ids) == 1:  # for single queries, one call instead of three
        return bool(ids.item(-1) < 0)
    return bool((ids[:, -1] < 0).any())


@lru_cache(maxsize=1)
def _swig_pointers() -> Any:
    import faiss

    return faiss.swig_ptr


@lru_cache(maxsize=256)
def _parameters(ef_search: int) -> Any:
    """Parameters of a call, so that searches do not change the index; calls share them, since faiss only reads."""
    import faiss

    return faiss.SearchParametersHNSW(efSearch=ef_search)


def _parameters_with(ef_search: int, keep: Any) -> Any:
    import faiss

    return faiss.SearchParametersHNSW(efSearch=ef_search, sel=keep)
