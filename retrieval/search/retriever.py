"""Texts, images or vectors in, the nearest rows of a store out: T2I and T2T of eq. 2.2 and 2.3, and image to image.

    retriever = Retriever(EmbeddingStore.open("STORE"))
    found = retriever.search(["a photo of a dog"], k=50, mode="t2i")
    found.scores, found.row_ids, found.plan.why

Picks between the index and an exact scan (retrieval.search.planner). Knows no concepts and no rules.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from index.encoder.model_spec import check_same_model
from index.errors import BadInput
from index.graph.hnsw import falls_short
from index.graph.search_index import HnswIndex, has_index, open_index
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.store_model import store_model
from retrieval.search.planner import IndexCost, SearchPlan, plan_search

if TYPE_CHECKING:
    from PIL import Image

    from index.encoder.clip_encoder import Encoder

__all__ = ["Retriever", "SearchMode", "SearchResult"]

SearchMode = Literal["t2i", "t2t", "i2i"]
Queries = Sequence[str] | Sequence["Image.Image"] | npt.NDArray[np.floating[Any]]

# What is searched, for each mode.
_SEARCHED: dict[str, Modality] = {"t2i": "image", "t2t": "text", "i2i": "image"}
# fp16 unit rows have squared lengths within 1e-3 of 1; they are left as they are: a store's own rows stay themselves.
_UNIT = 2e-3


@dataclass(frozen=True)
class SearchResult:
    """scores float32 [q, k], cosines, falling; row_ids int64 [q, k]; plan: how they were found.

    Where forgotten and excluded rows leave fewer than k, the rest is -inf and -1.
    """

    scores: npt.NDArray[np.float32]
    row_ids: npt.NDArray[np.int64]
    plan: SearchPlan


class Retriever:
    """A store open for search. Threads may share one.

    encoder: encodes texts and images; by default the model that the store names, loaded when it is first needed.
    device: where exact scans run; a GPU where there is one by default.

    Raises:
        ModelMismatch: the encoder is not the store's model.
    """

    def __init__(self, store: EmbeddingStore, encoder: Encoder | None = None, device: str | None = None) -> None:
        if encoder is not None:
            check_same_model(store.fingerprint, encoder.fingerprint, f"the store {store.path}")
        self.store = store
        self._rows, self._dim, self._has_text = store.rows, store.dim, store.has_text
        self._encoder = encoder
        self._device = device
        self._indexes: dict[Modality, HnswIndex | None] = {}
        self._loading = threading.Lock()
        self._planned = lru_cache(maxsize=1_024)(self._plan_anew)

    def search(
        self,
        queries: Queries,
        k: int,
        mode: SearchMode = "t2i",
        method: str | None = None,
        ef_search: int | None = None,
        *,
        exclude: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_] | None = None,
    ) -> SearchResult:
        """The k rows nearest to each query by cosine.

        Args:
            queries: texts (t2i, t2t), PIL images (i2i), or their vectors [q, d], scaled to unit length where not.
            k: rows a query.
            mode: "t2i" searches images by text, "t2t" captions by text, "i2i" images by image.
            method: "hnsw" or "exact"; by default whichever the planner expects to be faster.
            ef_search: for hnsw, instead of the index's recall contract.
            exclude: rows not to return: row ids, or a mask over all rows that is true for them.

        Raises:
            BadInput: no queries, k below 1 or above the store's rows, an unknown mode or method, vectors of another
                dimension or without a direction, t2t on a store without text embeddings.
            StoreInvalid: the index does not belong to the store as it is.
        """
        modality = _SEARCHED.get(mode)
        if modality is None:
            raise BadInput(f"unknown mode {mode!r}: choose one of {', '.join(get_args(SearchMode))}")
        rows = self._rows
        if not 1 <= k <= rows:
            raise BadInput(f"k is {k}: choose 1 to {rows}, the rows of {self.store.path}")
        if modality == "text" and not self._has_text:
            raise BadInput(f"{self.store.path}: has no text embeddings, so it cannot answer text against text (t2t)")
        vectors = queries if isinstance(queries, np.ndarray) else self._encode(queries, mode)
        wide = _unit_rows(vectors, self._dim)
        plan = self._planned(modality, len(wide), k, method, ef_search)
        unwanted = None if exclude is None else _excluded(exclude, rows)
        if plan.method == "exact":
            return SearchResult(*self._scan(modality, wide, k, unwanted), plan)
        index = self._indexes[modality]  # opened for the plan
        assert index is not None
        assert plan.ef_search is not None
        scores, row_ids = index.search_unchecked(wide, k, plan.ef_search, unwanted)
        if falls_short(row_ids):
            # A graph may have nodes that no walk reaches: those queries are answered exactly.
            short = np.flatnonzero(row_ids[:, -1] < 0)
            scores[short], row_ids[short] = self._scan(modality, wide[short], k, unwanted)
        return SearchResult(scores, row_ids, plan)

    def plan(self, modality: Modality, queries: int, k: int, method: str | None = None) -> SearchPlan:
        """How so many queries would be searched at once. Raises what `search` raises for an index or method."""
        return self._planned(modality, queries, k, method, None)

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded at the first call unless it was given.

        Raises:
            BadInput: the store's model cannot be loaded by name.
        """
        with self._loading:
            if self._encoder is None:
                from index.encoder.clip_encoder import load_encoder

                encoder = load_encoder(store_model(self.store.path))
                check_same_model(self.store.fingerprint, encoder.fingerprint, f"the store {self.store.path}")
                self._encoder = encoder
            return self._encoder

    def _encode(self, queries: Sequence[Any], mode: str) -> npt.NDArray[np.float16]:
        if isinstance(queries, str):
            raise BadInput("queries is one text: give a list of texts")
        if not len(queries):
            raise BadInput("no queries: give at least one")
        texts = isinstance(queries[0], str)
        if texts != (mode != "i2i"):
            given = "texts" if texts else "images"
            raise BadInput(f"mode {mode} does not take {given}: use {'t2i or t2t' if texts else 'i2i'} for them")
        return self.encoder.encode_queries(queries)[0] if texts else self.encoder.encode_images(queries)

    def _plan_anew(
        self, modality: Modality, queries: int, k: int, method: str | None, ef_search: int | None
    ) -> SearchPlan:
        index = self.index(modality) if method != "exact" else None  # a broken index does not stop a scan
        cost = IndexCost(index.shards, index.ef_search) if index is not None else None
        rows, dim, device = self.store.rows, self.store.dim, self._scan_device()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return plan_search(rows, dim, queries, k, cost, device, cores=cores, method=method, ef_search=ef_search)

    def index(self, modality: Modality) -> HnswIndex | None:
        """The store's index, opened at the first call; None when there is none. Raises StoreInvalid for a bad one."""
        with self._loading:
            if modality not in self._indexes:
                there = has_index(self.store, modality)
                self._indexes[modality] = open_index(self.store, modality) if there else None
            return self._indexes[modality]

    def _scan(
        self, modality: Modality, queries: npt.NDArray[np.float32], k: int, exclude: npt.NDArray[np.int64] | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        from retrieval.search.scan import scan

        return scan(self.store, modality, queries, k, exclude=exclude, device=self._scan_device())

    def _scan_device(self) -> str:
        if self._device is None:
            from index.graph.exact import best_device

            self._device = best_device()
        return self._device


def _unit_rows(vectors: npt.NDArray[Any], dim: int) -> npt.NDArray[np.float32]:
    """Contiguous fp32 rows of unit length; BadInput where that cannot be."""
    if vectors.ndim != 2 or vectors.shape[1] != dim or not len(vectors):
        raise BadInput(f"query vectors have shape {vectors.shape}, the store needs [q, {dim}] with q at least 1")
    wide = np.ascontiguousarray(vectors, np.float32)
    if len(wide) == 1 and abs(float(np.vdot(wide, wide)) - 1) < _UNIT:
        return wide  # one call instead of three: they are a tenth of what a single query takes
    squares = np.einsum("ij,ij->i", wide, wide)
    if not (np.minimum.reduce(squares) > 1 - _UNIT and np.maximum.reduce(squares) < 1 + _UNIT):  # also where it is NaN
        lengths = np.sqrt(squares)
        bad = np.flatnonzero(~((lengths > 0) & np.isfinite(lengths)))
        if len(bad):
            raise BadInput(f"query {bad[0]}: its vector is zero or not finite, so it has no direction")
        wide = wide / lengths[:, None]
    return wide


def _excluded(exclude: npt.NDArray[Any], rows: int) -> npt.NDArray[np.int64]:
    """Sorted row ids of a mask or of ids in any order."""
    if exclude.dtype == np.bool_:
        if exclude.shape != (rows,):
            raise BadInput(f"the mask of rows to exclude has shape {exclude.shape}, the store has {rows} rows")
        return np.flatnonzero(exclude).astype(np.int64)
    return np.unique(exclude.astype(np.int64))
