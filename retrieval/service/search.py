"""Answers a search request: queries to vectors, nearest rows, filters, near-duplicates, metadata.

Filters are applied to the rows that a search returns; while they leave fewer than k, the search is repeated with more
rows, up to `Settings.max_depth`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from retrieval.search.duplicates import greedy_duplicates
from retrieval.service.backend import Backend, Found
from retrieval.service.filters import check, filter_columns, meets
from retrieval.service.limits import check_limits
from retrieval.service.metadata_cache import RowLookup, as_row
from retrieval.service.schemas import COLUMNS, Query, SearchOptions, SearchRequest
from retrieval.service.settings import Settings

__all__ = ["Answer", "Answered", "NoSuchRow", "Service", "unit_vector", "vectors_of_base64"]

DEEPER = 4  # with filters, a search asks for this many times k rows, and for this many times more at each further step
MOST_DUPLICATES = 20  # listed for a result

Result = TypeVar("Result")
Vectors = npt.NDArray[np.floating[Any]]


class NoSuchRow(BadInput):
    """The row is not in the store, or was forgotten."""


@dataclass
class Answered:
    """One query's results, best first. fragments: their metadata as JSON, see `metadata_cache.RowLookup`."""

    row_ids: list[int]
    scores: list[float]
    fragments: list[bytes]
    near_duplicates: list[list[int]] | None
    text_cut: bool
    searched: int
    complete: bool

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The metadata as dicts."""
        return [as_row(fragment) for fragment in self.fragments]


@dataclass
class Answer:
    """The results of all queries, in order; partial: the shards in `missing` did not answer."""

    results: list[Answered]
    plan: str
    missing: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        return bool(self.missing)


@dataclass
class _Open:
    """A query during its search; kept: the (row id, score) pairs that meet the filters so far."""

    place: int
    vector: Vectors
    own_row: int | None = None  # the row that the query is; it is not a result
    text_cut: bool = False
    kept: list[tuple[int, float]] = field(default_factory=list)
    searched: int = 0
    complete: bool = True


class Service:
    """A backend with its settings, metadata cache and image threads; one for each app."""

    def __init__(self, backend: Backend, settings: Settings) -> None:
        self.backend, self.settings = backend, settings
        self.lookup = RowLookup(backend.store, settings.cache_bytes)
        self.concept_jobs = 0  # running now
        self._decoders = ThreadPoolExecutor(2, thread_name_prefix="picture")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the store's metadata columns, also those of an adopted store's own tables."""
        return tuple(self.backend.store.metadata([0]).column_names) if self.backend.store.rows else COLUMNS

    async def search(self, request: SearchRequest) -> Answer:
        """Answer all queries of a request.

        Raises BadInput for a request that is beyond the limits or cannot be answered, Overloaded, Unavailable.
        """
        self._check(request, len(request.queries))
        return await self._answer(await self.vectors(request.queries, request.modality), request)

    async def search_images(self, files: Sequence[bytes], request: SearchOptions) -> Answer:
        """`search` by image files."""
        self._check(request, len(files))
        vectors = await self.backend.encode_images(files)
        return await self._answer([_Open(place, vector) for place, vector in enumerate(vectors)], request)

    def check_row(self, row_id: int) -> None:
        """Raise NoSuchRow for a row that is not there or was forgotten."""
        store = self.backend.store
        if not 0 <= row_id < store.rows or store.is_forgotten([row_id])[0]:
            raise NoSuchRow(f"no row {row_id}: it is not in the store, or was forgotten")

    def check_columns(self, names: Sequence[str]) -> None:
        """Raise BadInput for a metadata column that the store doesn't have."""
        for name in names:
            if name not in self.columns:
                raise BadInput(f"no metadata column {name!r}; there are: {', '.join(self.columns)}")

    async def in_decoder(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function that decodes images in one of two threads for that."""
        return await asyncio.get_running_loop().run_in_executor(self._decoders, function, *arguments)

    def close(self) -> None:
        """Release the threads."""
        self.lookup.close()
        self._decoders.shutdown()

    def _check(self, request: SearchOptions, queries: int) -> None:
        store = self.backend.store
        check_limits(request, queries, self.settings, store.rows)
        if request.modality == "text" and not store.has_text:
            raise BadInput("the store has no text embeddings: search the modality image")
        check(request.filters)
        self.check_columns([*(request.columns or ()), *filter_columns(request.filters)])

    async def _answer(self, queries: list[_Open], request: SearchOptions) -> Answer:
        plan, missing = await self._fill(queries, request)
        columns = tuple(request.columns) if request.columns is not None else COLUMNS
        fragments = await self.lookup.fragments([row for query in queries for row, _ in query.kept], columns)
        threshold = request.mark_duplicates
        results = [
            Answered(
                [row for row, _ in query.kept],
                [score for _, score in query.kept],
                [fragments[row] for row, _ in query.kept],
                None if threshold is None else self._near(query, threshold),
                query.text_cut,
                query.searched,
                query.complete,
            )
            for query in queries
        ]
        return Answer(results, plan, missing)

    async def vectors(self, queries: Sequence[Query], modality: Any) -> list[_Open]:
        """The vector of each query: texts and images are encoded in one batch each."""
        store, dim = self.backend.store, self.backend.store.dim
        opened: list[_Open | None] = [None] * len(queries)
        texts = [place for place, query in enumerate(queries) if query.text is not None]
        images = [
            place for place, query in enumerate(queries) if query.image is not None or query.image_url is not None
        ]
        if texts:
            encoded = await self.backend.encode_texts([str(queries[place].text) for place in texts])
            for place, vector, cut in zip(texts, encoded.vectors, encoded.cut, strict=True):
                opened[place] = _Open(place, vector, text_cut=cut)
        if images:
            files = [await self._image_of(queries[place], place) for place in images]
            for place, vector in zip(images, await self.backend.encode_images(files), strict=True):
                opened[place] = _Open(place, vector)
        rows = [place for place, query in enumerate(queries) if query.row_id is not None]
        if rows:
            ids = [int(queries[place].row_id or 0) for place in rows]
            for row in ids:
                self.check_row(row)
            found = await asyncio.to_thread(store.gather, modality, ids)
            for place, row, vector in zip(rows, ids, found, strict=True):
                opened[place] = _Open(place, vector, own_row=row)
        for place, query in enumerate(queries):
            if query.embedding is not None:
                opened[place] = _Open(place, unit_vector(np.array(query.embedding, np.float32), dim, place))
            elif query.embedding_b64 is not None:
                vectors = vectors_of_base64(query.embedding_b64, dim, f"query {place}")
                if len(vectors) != 1:
                    raise BadInput(f"query {place}: embedding_b64 holds {len(vectors)} vectors, one is needed")
                opened[place] = _Open(place, unit_vector(vectors[0], dim, place))
        return [query for query in opened if query is not None]

    async def _image_of(self, query: Query, place: int) -> bytes:
        if query.image is not None:
            return image_of_base64(query.image, self.settings.max_image_bytes, f"query {place}")
        if not self.settings.allow_urls:
            raise BadInput(f"query {place}: this service fetches no URLs; send the image itself")
        from retrieval.service.fetch_url import fetch_image

        return await fetch_image(str(query.image_url), self.settings.max_image_bytes)

    async def _fill(self, queries: list[_Open], request: SearchOptions) -> tuple[str, tuple[str, ...]]:
        """Search, filter, and search deeper for the queries that filters have left short."""
        filters, rows = request.filters, self.backend.store.rows
        strict = bool(filter_columns(filters)) or filters.near_duplicates is not None
        extra = int(any(query.own_row is not None for query in queries))
        most = min(rows, max(self.settings.max_depth, request.k + extra))
        depth = min(most, request.k * (DEEPER if strict else 1) + extra)
        exclude = np.unique(np.array(filters.exclude, np.int64)) if filters.exclude else None
        if exclude is not None and exclude[-1] >= rows:
            raise BadInput(f"filters.exclude: no row {exclude[-1]}; the store has rows 0 to {rows - 1}")
        pending, plan, missing = queries, "", set[str]()
        while pending:
            vectors = np.stack([query.vector for query in pending])
            found = await self.backend.search(vectors, request.modality, depth, request.method, exclude)
            plan = plan or found.plan
            missing |= set(found.missing)
            await self._keep(pending, found, request)
            short = [query for query in pending if strict and len(query.kept) < request.k and not query.complete]
            if depth >= most:
                break
            pending, depth = short, min(most, depth * DEEPER)
        return plan, tuple(sorted(missing))

    async def _keep(self, queries: list[_Open], found: Found, request: SearchOptions) -> None:
        """Keep of each query's hits what meets the filters, up to k."""
        filters = request.filters
        floor = -np.inf if filters.min_score is None else filters.min_score
        hits = []
        for query, scores, row_ids in zip(queries, found.scores.tolist(), found.row_ids.tolist(), strict=True):
            own = query.own_row
            query.searched = sum(row >= 0 for row in row_ids)
            hits.append([
                (row, score)
                for row, score in zip(row_ids, scores, strict=True)
                if row >= 0 and score >= floor and row != own
            ])  # fmt: skip
            # Scores fall, so the search is complete at a row below the floor, or when it found no more rows.
            query.complete = row_ids[-1] < 0 or scores[-1] < floor or len(row_ids) >= self.backend.store.rows
        columns = filter_columns(filters)
        if columns:
            wanted = list(dict.fromkeys(row for own_hits in hits for row, _ in own_hits))
            fragments = await self.lookup.fragments(wanted, columns)
            good = {row for row in wanted if meets(filters, as_row(fragments[row]))}
            hits = [[hit for hit in own_hits if hit[0] in good] for own_hits in hits]
        for query, own_hits in zip(queries, hits, strict=True):
            if filters.near_duplicates is not None and own_hits:
                rows = np.array([row for row, _ in own_hits], np.int64)
                dropped = await asyncio.to_thread(self._drop_near, rows, filters.near_duplicates)
                own_hits = [hit for hit, gone in zip(own_hits, dropped, strict=True) if not gone]
            query.kept = own_hits[: request.k]
            query.complete = query.complete or len(query.kept) >= request.k

    def _drop_near(self, rows: npt.NDArray[np.int64], threshold: float) -> npt.NDArray[np.bool_]:
        return greedy_duplicates(self.backend.store.gather("image", rows), threshold)

    def _near(self, query: _Open, threshold: float) -> list[list[int]]:
        """For each result the other results whose images are within `threshold`."""
        rows = [row for row, _ in query.kept]
        if not rows:
            return []
        vectors = self.backend.store.gather("image", rows).astype(np.float32)
        near = vectors @ vectors.T >= threshold
        np.fill_diagonal(near, False)
        return [[rows[other] for other in np.flatnonzero(line)[:MOST_DUPLICATES]] for line in near]


def image_of_base64(text: str, most: int, where: str) -> bytes:
    """The bytes of a base64 image, with or without a `data:` prefix; BadInput for other text or over `most` bytes."""
    _, comma, rest = text.partition(",")
    encoded = rest if comma and text.startswith("data:") else text
    if len(encoded) > most * 4 // 3 + 4:
        raise BadInput(f"{where}: the image has more than {most} bytes")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"{where}: the image is not base64") from error


def vectors_of_base64(text: str, dim: int, where: str) -> npt.NDArray[np.float32]:
    """Vectors float32 [n, dim] from little-endian bytes in base64; BadInput for other text or another length."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"{where}: embedding_b64 is not base64") from error
    if not data or len(data) % (4 * dim):
        raise BadInput(f"{where}: embedding_b64 has {len(data)} bytes, vectors here have {4 * dim} (float32 x {dim})")
    return np.frombuffer(data, "<f4").astype(np.float32).reshape(-1, dim)


def unit_vector(vector: npt.NDArray[np.float32], dim: int, place: int) -> npt.NDArray[np.float32]:
    """The vector scaled to unit length; BadInput for another dimension, or a vector that is zero or not finite."""
    if vector.shape != (dim,):
        raise BadInput(f"query {place}: the embedding has {vector.size} numbers, the store's have {dim}")
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise BadInput(f"query {place}: the embedding is zero or not finite, so it has no direction")
    return vector / np.float32(length)
