"""An index over vectors in memory, built as a shard of them would be: for measuring before anything is built."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.codecs import has_links
from index.graph.hnsw import ADD_ROWS, HnswSpec, build_graph, coded_graph
from index.graph.inverted_lists import build_lists, training_rows
from index.graph.query_graph import build_query_graph

__all__ = ["build_in_memory"]

Floats = npt.NDArray[np.float32]


def build_in_memory(vectors: Floats, spec: HnswSpec, *, captions: Floats | None = None, linked: Any = None) -> Any:
    """A faiss index over `vectors`.

    Args:
        vectors: usable unit vectors, float32 [n, d].
        captions: unit vectors [m, d] that the links are fitted to; None where a shard has none.
        linked: a graph of the same vectors in fp16. An sq4 graph, whose links are those of fp16, is made of it at once;
            other codecs do not use it.
    """
    blocks = [vectors[start : start + ADD_ROWS] for start in range(0, len(vectors), ADD_ROWS)]
    if not has_links(spec.codec):
        learned = np.linspace(0, len(vectors) - 1, training_rows(len(vectors))).astype(np.int64)
        return build_lists(blocks, vectors[learned], len(vectors))
    if spec.codec == "sq4" and linked is not None:
        return coded_graph(linked, vectors)
    if captions is not None:
        return build_query_graph(blocks, vectors, [captions], spec)
    graph = build_graph(blocks, vectors, spec)
    return coded_graph(graph, vectors) if spec.codec == "sq4" else graph
