"""Which captions a shard's links are fitted to, and which are kept for measuring recall.

Links that are fitted to a caption find its images better than those of other captions. So recall must be measured with
captions that no graph has seen: those of every 8th row are kept as queries, the others are used for links.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.capacity import FITTED_ROWS
from index.graph.hnsw import usable_rows
from index.graph.query_graph import QUERY_GRAPH_RULES
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["QUERY_STEP", "caption_rules", "fitted_captions", "has_query_links", "query_step"]

# Recall is measured with captions of rows that are multiples of it, which links have not seen. Shards that were built
# when links were fitted to all odd rows have not seen them either, since it is even.
QUERY_STEP = 8
# Shards with fewer rows are searched well without such links; this many leave 1,024 captions for measuring recall.
_LEAST_ROWS = FITTED_ROWS


def has_query_links(store: EmbeddingStore, modality: Modality, rows: int) -> bool:
    """Whether the graph of a shard of so many rows gets links that are fitted to captions."""
    return modality == "image" and store.has_text and rows >= _LEAST_ROWS


def caption_rules(store: EmbeddingStore, modality: Modality, rows: int) -> list[Any]:
    """What decides such links, beside the shard's image vectors and its captions' vectors; empty for other shards."""
    return [*QUERY_GRAPH_RULES, QUERY_STEP, _LEAST_ROWS] if has_query_links(store, modality, rows) else []


def query_step(store: EmbeddingStore, asked_with: Modality, modality: Modality) -> int:
    """Recall of an index of `modality` is measured with rows of `asked_with` that are multiples of this number."""
    return QUERY_STEP if asked_with == "text" and has_query_links(store, modality, store.rows) else 1


def fitted_captions(
    store: EmbeddingStore, first: int, row_ids: npt.NDArray[np.integer[Any]], block_rows: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Blocks of the usable captions' vectors [n, d] of the rows from `first` on, without every 8th row.

    Args:
        row_ids: the id [n] of each of these rows in the whole store, of which `store` may be some rows
            (`index.graph.listed_rows`).
    """
    for row, vectors in store.blocks("text", block_rows, first, first + len(row_ids)):
        own = row_ids[row - first : row - first + len(vectors)]
        block = np.asarray(vectors[own % QUERY_STEP != 0], np.float32)
        yield block[usable_rows(block)]
