"""Search of a store: texts, images, vectors or rows in, the nearest rows out.

    retriever = Retriever(EmbeddingStore.open("STORE"))
    found = retriever.search(["a photo of a dog", Path("dog.jpg"), 17], k=50)
    found.scores, found.row_ids, found.plan.why
    found.to_pandas()

T2I and T2T are eq. 2.3 and 2.2 of the REACT chapter. Each search uses the index or an exact scan, whichever
`retrieval.search.planner` expects to be faster.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.cores import usable_cores
from index.encoder.model_spec import check_same_model
from index.errors import BadInput
from index.graph.hnsw import falls_short
from index.graph.search_index import HnswIndex, has_index, open_index
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.store_model import store_model
from retrieval.data_frames import frame_of_table
from retrieval.search.conditions import conditions_of
from retrieval.search.planner import IndexCost, SearchPlan, plan_search
from retrieval.search.queries import list_queries, open_image, query_kind

if TYPE_CHECKING:
    import pandas as pd

    from index.encoder.clip_encoder import Encoder
    from retrieval.search.queries import Query

__all__ = ["SEARCHED", "Retriever", "SearchMode", "SearchResult", "unit_rows"]

SearchMode = Literal["t2i", "t2t", "i2i"]
# The modality that each mode searches.
SEARCHED: dict[str, Modality] = {"t2i": "image", "t2t": "text", "i2i": "image"}
# Squared lengths of fp16 unit rows are within 1e-3 of 1. Such vectors are not scaled, so that a store's rows stay equal
# to themselves.
_UNIT = 2e-3


@dataclass(frozen=True, repr=False)
class SearchResult:
    """Results of q queries. scores: float32 [q, k], cosines, falling; row_ids: int64 [q, k]; plan: how they were found.

    Where fewer than k rows are left (the others were forgotten or excluded), the rest of a line is -inf and -1.
    """

    scores: npt.NDArray[np.float32]
    row_ids: npt.NDArray[np.int64]
    plan: SearchPlan
    store: EmbeddingStore

    def __repr__(self) -> str:
        queries, k = self.row_ids.shape
        return f"SearchResult({queries} queries, k {k}, {self.plan.method})"

    def to_pandas(self, columns: Sequence[str] = ("key", "caption")) -> pd.DataFrame:
        """A data frame with a line for each result: query (from 0), rank (from 1), row_id, score, metadata `columns`.

        Raises BadInput for a column that the store does not have, and when pandas is not installed.
        """
        query, place = np.nonzero(self.row_ids >= 0)
        rows = self.row_ids[query, place]
        distinct, positions = np.unique(rows, return_inverse=True)
        found = self.store.metadata(distinct, list(columns)).take(pa.array(positions))
        fixed = {"query": query, "rank": place + 1, "row_id": rows, "score": self.scores[query, place]}
        return frame_of_table(pa.table(fixed | {name: found.column(name) for name in columns}))


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
        self._loading, self._opening = threading.Lock(), threading.Lock()  # of the encoder, of the indexes
        self._planned = lru_cache(maxsize=1_024)(self._plan_anew)
        self._conditions = lru_cache(maxsize=2)(lambda modality, minute: conditions_of(store, modality))

    def __repr__(self) -> str:
        return f"Retriever({str(self.store.path)!r}, {self._rows} rows)"

    def search(
        self,
        queries: Iterable[Query],
        k: int = 10,
        mode: SearchMode | None = None,
        method: str | None = None,
        ef_search: int | None = None,
        *,
        modality: Modality | None = None,
        exclude: npt.NDArray[np.integer[Any]] | npt.NDArray[np.bool_] | None = None,
    ) -> SearchResult:
        """The k rows nearest to each query by cosine.

        Args:
            queries: texts, images, vectors and row ids, mixed as needed; see `retrieval.search.queries`. Vectors are
                scaled to unit length. A row is no result of its own query.
            k: rows a query.
            mode: instead of `modality`: "t2i" searches images by texts, "t2t" captions by texts, "i2i" images by
                images. Queries of another kind are refused.
            method: "hnsw" or "exact"; by default whichever the planner expects to be faster.
            ef_search: for hnsw, instead of the efSearch of the index's recall contract.
            modality: what is searched, "image" (the default) or "text", the captions.
            exclude: rows not to return: row ids, or a mask over all rows that is true for them.

        Raises:
            BadInput: no queries, a query that cannot be used, k below 1 or above the store's rows, an unknown mode,
                modality or method, vectors of another dimension or of no direction, captions of a store without text
                embeddings.
            StoreInvalid: the index does not belong to the store as it is.
        """
        searched = _searched(mode, modality)
        rows = self._rows
        if not 1 <= k <= rows:
            raise BadInput(f"k is {k}: choose 1 to {rows}, the rows of {self.store.path}")
        self._check_has(searched)
        own_rows: dict[int, int] = {}
        if isinstance(queries, np.ndarray):
            vectors = queries
        else:
            vectors, own_rows = self._vectors(list_queries(queries), mode, searched)
        wide = unit_rows(vectors, self._dim)
        unwanted = None if exclude is None else _excluded(exclude, rows)
        depth = min(k + 1, rows) if own_rows else k
        scores, row_ids, plan = self._search(searched, wide, depth, method, ef_search, unwanted)
        if own_rows:
            scores, row_ids = _without_own_rows(scores, row_ids, own_rows, k)
        return SearchResult(scores, row_ids, plan, self.store)

    def _search(
        self,
        modality: Modality,
        vectors: npt.NDArray[np.float32],
        k: int,
        method: str | None,
        ef_search: int | None,
        exclude: npt.NDArray[np.int64] | None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], SearchPlan]:
        kept = self._kept(exclude)
        plan = self._planned(modality, len(vectors), k, method, ef_search, kept, _minute())
        if plan.method == "exact":
            return *self._scan(modality, vectors, k, exclude), plan
        index = self._indexes[modality]  # opened for the plan
        assert index is not None
        assert plan.ef_search is not None
        scores, row_ids = index.search_unchecked(vectors, k, plan.ef_search, exclude)
        if falls_short(row_ids):
            # A graph may have nodes that no walk reaches: those queries are answered exactly.
            short = np.flatnonzero(row_ids[:, -1] < 0)
            scores[short], row_ids[short] = self._scan(modality, vectors[short], k, exclude)
        return scores, row_ids, plan

    def plan(self, modality: Modality, queries: int, k: int, method: str | None = None) -> SearchPlan:
        """How so many queries would be searched at once. Raises what `search` raises, but for queries and k."""
        self._check_has(modality)
        return self._planned(modality, queries, k, method, None, 1.0, _minute())

    def _check_has(self, modality: Modality) -> None:
        if modality == "text" and not self._has_text:
            raise BadInput(f"{self.store.path}: has no text embeddings, so captions cannot be searched (t2t)")

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded at the first call unless it was given.

        Raises:
            BadInput: the store's model cannot be loaded by name.
        """
        with self._loading:
            if self._encoder is None:
                from index.encoder.loading import load_encoder

                encoder = load_encoder(store_model(self.store.path))
                check_same_model(self.store.fingerprint, encoder.fingerprint, f"the store {self.store.path}")
                self._encoder = encoder
            return self._encoder

    def _vectors(
        self, queries: list[Any], mode: SearchMode | None, modality: Modality
    ) -> tuple[npt.NDArray[Any], dict[int, int]]:
        """The queries' vectors [q, d], and by query number the row ids of queries that are rows."""
        kinds = [query_kind(query, place) for place, query in enumerate(queries)]
        unfit = None if mode is None else "text" if mode == "i2i" else "image"
        if unfit in kinds:
            fitting = "t2i or t2t" if unfit == "text" else "i2i"
            raise BadInput(f"mode {mode} does not take {unfit}s: use {fitting} for them")
        if set(kinds) == {"text"}:
            return self.encoder.encode_queries(queries)[0], {}
        places = {kind: [place for place, found in enumerate(kinds) if found == kind] for kind in set(kinds)}
        vectors = np.empty((len(queries), self._dim), np.float32)
        if "text" in places:
            vectors[places["text"]] = self.encoder.encode_queries([queries[at] for at in places["text"]])[0]
        if "image" in places:
            images = [open_image(queries[at], at) for at in places["image"]]
            vectors[places["image"]] = self.encoder.encode_images(images)
        own_rows = {at: int(queries[at]) for at in places.get("row", [])}
        if own_rows:
            vectors[list(own_rows)] = self._gather(modality, own_rows)
        for at in places.get("vector", []):
            vectors[at] = _checked_vector(queries[at], self._dim, at)
        return vectors, own_rows

    def _gather(self, modality: Modality, own_rows: dict[int, int]) -> npt.NDArray[np.float16]:
        for at, row in own_rows.items():
            if not 0 <= row < self._rows or self.store.is_forgotten([row])[0]:
                raise BadInput(f"query {at}: no row {row} in {self.store.path}, or it was forgotten")
        return self.store.gather(modality, list(own_rows.values()))

    def _plan_anew(
        self,
        modality: Modality,
        queries: int,
        k: int,
        method: str | None,
        ef_search: int | None,
        kept: float,
        minute: int,  # plans are made again each minute, as what is in memory changes
    ) -> SearchPlan:
        index = self.index(modality) if method != "exact" else None  # a broken index does not stop a scan
        cost = None
        if index is not None:
            visited = index.recall.visited(index.shards, k) if index.recall is not None else None
            cost = IndexCost(index.shards, index.ef_search, index.tail_rows, visited)
        return plan_search(
            self._rows,
            self._dim,
            queries,
            k,
            cost,
            self._scan_device(),
            cores=usable_cores(),
            method=method,
            ef_search=ef_search,
            conditions=self._conditions(modality, minute),
            kept=kept,
        )

    def _kept(self, exclude: npt.NDArray[np.int64] | None) -> float:
        """The share of the rows that is left, rounded up to a power of 1/2, so that few plans are made."""
        if exclude is None or 4 * len(exclude) < self._rows:
            return 1.0
        return 0.5 ** math.floor(math.log2(self._rows / max(self._rows - len(exclude), 1)))

    def index(self, modality: Modality) -> HnswIndex | None:
        """The store's index, opened at the first call; None when there is none. Raises StoreInvalid for a bad one."""
        with self._opening:
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


def _minute() -> int:
    return int(time.monotonic() // 60)


def _searched(mode: SearchMode | None, modality: Modality | None) -> Modality:
    """The modality to search; BadInput for an unknown mode or modality, and for two that contradict each other."""
    if mode is not None and mode not in SEARCHED:
        raise BadInput(f"unknown mode {mode!r}: choose one of {', '.join(get_args(SearchMode))}")
    if modality is not None and modality not in get_args(Modality):
        raise BadInput(f"unknown modality {modality!r}: choose one of {', '.join(get_args(Modality))}")
    if mode is not None and modality not in (None, SEARCHED[mode]):
        raise BadInput(f"mode {mode!r} searches the modality {SEARCHED[mode]}, not {modality}: give one of the two")
    return SEARCHED[mode] if mode is not None else modality or "image"


def _checked_vector(vector: npt.NDArray[Any], dim: int, place: int) -> npt.NDArray[Any]:
    if vector.shape != (dim,):
        raise BadInput(f"query {place}: its vector has {vector.size} numbers, the store's have {dim}")
    return vector


def _without_own_rows(
    scores: npt.NDArray[np.float32], row_ids: npt.NDArray[np.int64], own_rows: dict[int, int], k: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The first k results of each query, without the row that the query itself is; -inf and -1 where they run out."""
    kept_scores, kept_ids = (
        np.full((len(row_ids), k), filler, kind) for filler, kind in ((-np.inf, np.float32), (-1, np.int64))
    )
    for query, found in enumerate(row_ids):
        good = np.flatnonzero(found != own_rows.get(query, -1))[:k]
        kept_scores[query, : len(good)], kept_ids[query, : len(good)] = scores[query, good], found[good]
    return kept_scores, kept_ids


def unit_rows(vectors: npt.NDArray[Any], dim: int) -> npt.NDArray[np.float32]:
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
