"""Answers a search request over one store: queries to vectors, nearest rows, filters, near-duplicates, metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from index.errors import BadInput
from retrieval.service import images as row_images
from retrieval.service.admission import Admission, Place
from retrieval.service.backend import Backend
from retrieval.service.filtered_search import FilteredSearch
from retrieval.service.filters import check, filter_columns
from retrieval.service.limits import check_limits, check_seconds, duplicate_seconds, search_bytes, search_depths
from retrieval.service.metadata_cache import RowLookup, as_row
from retrieval.service.query_vectors import NoSuchRow, OpenQuery, check_row, encode_files, query_vectors
from retrieval.service.schemas import COLUMNS, Query, SearchOptions, SearchRequest
from retrieval.service.settings import Settings
from retrieval.service.threads import SMALL, run_to_end
from retrieval.service.turns import FairPool

__all__ = ["Answer", "Answered", "NoSuchRow", "Service", "Shared"]

MOST_DUPLICATES = 20  # listed for a result

Result = TypeVar("Result")


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
    """The results of all queries, in order; partial: the shards in `missing` did not answer.

    place: what the search has taken, to be given back when the answer has been sent.
    """

    results: list[Answered]
    plan: str
    missing: tuple[str, ...] = ()
    place: Place = field(default_factory=Place)

    @property
    def partial(self) -> bool:
        return bool(self.missing)


class Shared:
    """What the stores of an app have in common: the limits of all requests together, and threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.admission = Admission(settings)
        self.decoders = FairPool(2, "picture")
        self.workers = FairPool(2, "work")
        self.lookups = FairPool(2, "lookup")  # which may wait for a disk
        self.parser = FairPool(1, "parse")  # one: a body is parsed in a single step, during which nothing else runs

    def close(self) -> None:
        """Release the threads."""
        for pool in (self.decoders, self.workers, self.lookups, self.parser):
            pool.shutdown()


class Service:
    """One store as it was opened: its backend and its metadata cache."""

    def __init__(self, backend: Backend, shared: Shared) -> None:
        self.backend, self.shared, self.settings = backend, shared, shared.settings
        self.admission = shared.admission
        self.lookup = RowLookup(backend.store, shared.settings, shared.lookups)
        self._users = 0  # requests that are being answered
        self._unused = asyncio.Event()
        self._unused.set()

    def take(self) -> None:
        """Count a request, which calls `give_back` at its end."""
        self._users += 1
        self._unused.clear()

    def give_back(self) -> None:
        """A request has ended."""
        self._users -= 1
        if not self._users:
            self._unused.set()

    async def unused(self) -> None:
        """Wait until no request is being answered."""
        while self._users:
            await self._unused.wait()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the store's metadata columns, also those of an adopted store's own tables."""
        return tuple(self.backend.store.metadata([0]).column_names) if self.backend.store.rows else COLUMNS

    async def search(self, request: SearchRequest) -> Answer:
        """Answer all queries of a request.

        Raises BadInput for a request that is beyond the limits or cannot be answered, Overloaded, Unavailable.
        """

        vectors = partial(self.vectors, request.queries, request.modality)
        own = int(any(query.row_id is not None for query in request.queries))
        return await self._search(request, len(request.queries), vectors, own)

    async def search_images(self, files: Sequence[bytes], request: SearchOptions) -> Answer:
        """`search` by image files."""

        async def vectors() -> list[OpenQuery]:
            found = await encode_files(self.backend, files, self.settings, self.admission, self.shared.lookups)
            return [OpenQuery(place, vector) for place, vector in enumerate(found)]

        return await self._search(request, len(files), vectors, 0)

    async def vectors(self, queries: Sequence[Query], modality: Any) -> list[OpenQuery]:
        """The vector of each query."""
        return await query_vectors(self.backend, queries, modality, self.settings, self.admission, self.shared.lookups)

    def check_row(self, row_id: int) -> None:
        """Raise NoSuchRow for a row that is not there or was forgotten."""
        check_row(self.backend.store, row_id)

    async def check_columns(self, names: Sequence[str]) -> None:
        """Raise BadInput for a metadata column that the store doesn't have."""
        if names and "columns" not in self.__dict__:  # reads a file, once
            await self.in_worker(lambda: self.columns)
        for name in names:
            if name not in self.columns:
                raise BadInput(f"no metadata column {name!r}; there are: {', '.join(self.columns)}")

    async def method(self, asked: str | None, modality: Any) -> str | None:
        """The method to search by, as the operator allows. Raises BadInput for an exact scan that is not allowed."""
        if self.settings.allow_exact or (await self.backend.plan(modality, 1, 1)).hnsw_seconds is None:
            return asked
        if asked == "exact":
            raise BadInput("this service does no exact scans where there is an index; leave out the method exact")
        return "hnsw"

    async def in_decoder(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run a function that decodes images in one of two threads for that."""
        return await run_to_end(self.shared.decoders, function, *arguments)

    async def thumbnail(self, row_id: int, side: int) -> bytes:
        """A small JPEG of a row's image; see `images.thumbnail`."""
        return await self.in_decoder(row_images.thumbnail, self.backend.store, row_id, self.thumbnail_size(side))

    def thumbnail_size(self, side: int) -> row_images.ThumbnailSize:
        """Thumbnails of this side, of images within the service's limits."""
        return row_images.ThumbnailSize(side, self.settings.max_image_bytes, self.settings.max_image_pixels)

    async def in_worker(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run other work in a thread."""
        return await run_to_end(self.shared.workers, function, *arguments)

    async def _search(self, request: SearchOptions, queries: int, vectors: Callable[[], Any], own: int) -> Answer:
        """Check the request and take its place in one step, then work."""
        store = self.backend.store
        check_limits(request, queries, self.settings, store.rows)
        if request.modality == "text" and not store.has_text:
            raise BadInput("the store has no text embeddings: search the modality image")
        check(request.filters)
        await self.check_columns([*(request.columns or ()), *filter_columns(request.filters)])
        method = await self.method(request.method, request.modality)
        depth = search_depths(request, queries, self.settings, store.rows, own)
        plan = await self.backend.plan(request.modality, queries, depth.first, method)
        check_seconds(plan, self.settings, "search_seconds", f"{queries} queries with k {request.k}")
        seconds = plan.seconds + duplicate_seconds(request, depth, queries, store.dim)
        place = self.admission.search(queries, search_bytes(depth, request.k, queries), seconds)
        try:
            opened = await vectors()
            search = FilteredSearch(
                self.backend, self.lookup, self.shared.workers, request, method, self.settings.search_seconds
            )
            found = await search.fill(opened, depth)
            return await self._answer(opened, request, place, *found)
        except BaseException:
            place.give_back()
            raise

    async def _answer(
        self, queries: list[OpenQuery], request: SearchOptions, place: Place, plan: str, missing: tuple[str, ...]
    ) -> Answer:
        columns = tuple(dict.fromkeys(request.columns)) if request.columns is not None else COLUMNS
        rows = [row for query in queries for row in query.rows]
        fragments = await self.lookup.fragments(rows, columns)
        near: list[list[list[int]] | None] = [None] * len(queries)
        if request.mark_duplicates is not None:  # a call for each query, so that other requests' work comes between
            near = [await self.in_worker(self._near, query.rows, request.mark_duplicates) for query in queries]

        def results() -> list[Answered]:
            return [
                Answered(
                    query.rows,
                    query.scores,
                    [fragments[row] for row in query.rows],
                    close,
                    query.text_cut,
                    query.searched,
                    query.complete,
                )
                for query, close in zip(queries, near, strict=True)
            ]

        found = results() if len(rows) <= SMALL else await self.in_worker(results)
        return Answer(found, plan, missing, place)

    def _near(self, rows: list[int], threshold: float) -> list[list[int]]:
        """For each result the other results whose images are within `threshold`."""
        if not rows:
            return []
        vectors = self.backend.store.gather("image", rows).astype(np.float32)
        near = vectors @ vectors.T >= threshold
        np.fill_diagonal(near, False)
        return [[rows[other] for other in np.flatnonzero(line)[:MOST_DUPLICATES]] for line in near]
