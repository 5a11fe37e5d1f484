"""The backend of one process: the encoder and the memory-mapped indexes, each behind a batch queue.

Searching graphs and scanning have a thread each, beside those of the encoder, so that one batch is searched while the
next is encoded and no search of a graph waits for a scan.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from index.encoder.model_spec import check_same_model
from index.errors import ClipmineError
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.store_model import store_model
from retrieval.search.planner import SearchPlan
from retrieval.search.retriever import Retriever
from retrieval.service.backend import Found, Texts, Unavailable
from retrieval.service.batching import Batcher, batch_queue
from retrieval.service.generations import files_identity, generation_name
from retrieval.service.local_encoder import LocalEncoder, Observe
from retrieval.service.settings import Settings
from retrieval.service.threads import run_to_end
from retrieval.service.turns import FairPool

if TYPE_CHECKING:
    from index.encoder.clip_encoder import Encoder

__all__ = ["LocalBackend", "describe_indexes", "open_backends"]

VECTORS_AT_ONCE = 256  # in one call of the index
SLOW_SECONDS = 0.05  # a search that is expected to take longer does not share a thread with short ones


@dataclass(frozen=True)
class _Search:
    vectors: npt.NDArray[np.floating[Any]]
    modality: Modality
    k: int
    method: str | None
    exclude: npt.NDArray[np.int64] | None

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """Searches with equal keys are answered by one call."""
        return (self.modality, self.k, self.method)


class LocalBackend:
    """A store, its indexes and its encoder in this process. Implements `backend.Backend`.

    encoder: by default the store's own model, loaded when it is first needed; `encoding` is one that stores share.
    name: by default the settings' or the folder's.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        encoder: Encoder | None = None,
        settings: Settings | None = None,
        observe: Observe | None = None,
        *,
        encoding: LocalEncoder | None = None,
        name: str | None = None,
    ) -> None:
        self.settings = settings = settings or Settings()
        self.store = store
        self.name = name or settings.name or store.path.name
        # Taken before the indexes are opened: a change in between is seen as one, and opened again.
        self._identity, self.generation = files_identity(store), generation_name(store)
        self._retriever = Retriever(store, encoder)
        self._encoding = (encoding or LocalEncoder(_loader([store], encoder), settings)).share()
        self._described: list[dict[str, Any]] | None = None
        # Not in batches: many vectors, and searches that leave out rows, each of which is a call of its own.
        self._bulk, self._excluding = FairPool(1, "bulk-search"), FairPool(1, "search-without-rows")
        limits: dict[str, Any] = {
            "most": VECTORS_AT_ONCE,
            "queue": batch_queue(settings),
            "wait_ms": settings.wait_ms,
            "call_of": lambda search: search.batch_key,
        }
        saw = partial(self._saw, "search")
        self._searches: Batcher[_Search, Found] = Batcher("the search", self._search, observe=saw, **limits)
        # A scan reads all vectors, for one query as for many.
        self._scans: Batcher[_Search, Found] = Batcher(
            "the scan", self._search, call_seconds=None, observe=saw, **limits
        )
        self._observe: Observe | None = None
        self.observe = observe

    @property
    def observe(self) -> Observe | None:
        """Called after every batch; see `Observe`."""
        return self._observe

    @observe.setter
    def observe(self, observe: Observe | None) -> None:
        self._observe = observe
        if observe is not None:
            self._encoding.observe = observe

    def load(self) -> None:
        """Open the indexes and load the encoder now. Raises what opening and loading raise."""
        self.indexes()
        if not self._encoding.loaded:
            self._encoding.encoder.encode_queries(["ready"])

    async def encode_texts(self, texts: Sequence[str], *, repeatable: bool = False) -> Texts:
        return await self._encoding.texts(texts, repeatable=repeatable)

    async def encode_images(self, images: Sequence[bytes]) -> npt.NDArray[np.float16]:
        return await self._encoding.images(images)

    async def search(
        self,
        vectors: npt.NDArray[np.floating[Any]],
        modality: Modality,
        k: int,
        method: str | None = None,
        exclude: npt.NDArray[np.int64] | None = None,
    ) -> Found:
        search = _Search(vectors, modality, k, method, exclude)
        if len(vectors) <= VECTORS_AT_ONCE and exclude is None:
            plan = await self.plan(modality, len(vectors), k, method)
            queue = self._scans if plan.method == "exact" and plan.seconds > SLOW_SECONDS else self._searches
            return await queue.submit(search, len(vectors))
        # Many vectors may mean a long scan, which single queries must not wait for.
        pool = self._excluding if len(vectors) <= VECTORS_AT_ONCE else self._bulk
        found = (await run_to_end(pool, self._search, [search]))[0]
        if isinstance(found, Exception):
            raise found
        return found

    async def plan(self, modality: Modality, queries: int, k: int, method: str | None = None) -> SearchPlan:
        plan = partial(self._retriever.plan, modality, queries, k, method)
        return plan() if self._described is not None else await asyncio.to_thread(plan)

    def indexes(self) -> list[dict[str, Any]]:
        if self._described is None:
            described = describe_indexes(self._retriever)
            self._retriever.plan("image", 1, 1)  # finds the device of scans, so that later plans take microseconds
            self._described = described
        return self._described

    async def ready(self) -> str | None:
        try:
            if not self._encoding.loaded or self._described is None:
                await asyncio.to_thread(self.load)
        except ClipmineError as error:
            return str(error)
        return self._encoding.stuck()

    async def newer(self) -> LocalBackend | None:
        return await asyncio.to_thread(self._newer)

    async def close(self) -> None:
        for batcher in (self._searches, self._scans):
            await batcher.close()
        await self._encoding.close()
        self._bulk.shutdown()
        self._excluding.shutdown()

    def _newer(self) -> LocalBackend | None:
        if files_identity(self.store) == self._identity and not self.store.changed():
            return None
        store = EmbeddingStore.open(self.store.path)
        same = _fingerprint(store) == _fingerprint(self.store)
        encoding = self._encoding if same else LocalEncoder(_loader([store]), self.settings)
        backend = LocalBackend(store, settings=self.settings, encoding=encoding, name=self.name)
        try:
            backend.indexes()
            if self._encoding.loaded:
                _ = encoding.encoder  # another model is loaded before the first request needs it
        except BaseException:
            encoding.unshare()
            raise
        return backend

    def _saw(self, stage: str, requests: int, size: int) -> None:
        if self._observe is not None:
            self._observe(stage, requests, size)

    def _search(self, searches: list[_Search]) -> list[Found | Exception]:
        together: dict[tuple[Any, ...], list[int]] = {}
        for place, search in enumerate(searches):
            together.setdefault(search.batch_key, []).append(place)
        answers: list[Found | Exception] = [Unavailable("not searched")] * len(searches)
        for places in together.values():
            group = [searches[place] for place in places]
            try:
                found = self._search_together(group)
            except ClipmineError as error:
                for place in places:
                    answers[place] = error
                continue
            start = 0
            for place, search in zip(places, group, strict=True):
                end = start + len(search.vectors)
                answers[place] = Found(found.scores[start:end], found.row_ids[start:end], found.plan)
                start = end
        return answers

    def _search_together(self, group: list[_Search]) -> Found:
        """One call for searches with the same `batch_key`; their results follow each other in one array."""
        first = group[0]
        vectors = np.concatenate([search.vectors for search in group])
        found = self._retriever.search(
            vectors, first.k, modality=first.modality, method=first.method, exclude=first.exclude
        )
        return Found(found.scores, found.row_ids, f"{found.plan.method}: {found.plan.why}")


def open_backends(stores: Mapping[str, EmbeddingStore], settings: Settings) -> list[LocalBackend]:
    """A backend for each store by its name. Stores that were embedded with the same model share one encoder."""
    sharing: dict[str, list[EmbeddingStore]] = {}
    for store in stores.values():
        sharing.setdefault(_fingerprint(store), []).append(store)
    encoders = {model: LocalEncoder(_loader(same), settings) for model, same in sharing.items()}
    return [
        LocalBackend(store, settings=settings, encoding=encoders[_fingerprint(store)], name=name)
        for name, store in stores.items()
    ]


def _fingerprint(store: EmbeddingStore) -> str:
    return json.dumps(dict(store.fingerprint), sort_keys=True, default=str)


def _loader(stores: Sequence[EmbeddingStore], encoder: Encoder | None = None) -> Any:
    """A function that returns `encoder`, or loads the model of the first of the stores that names one."""

    def load() -> Encoder:
        if encoder is not None:
            return encoder
        from index.encoder.loading import load_encoder

        wrong: ClipmineError | None = None
        for store in stores:
            try:
                loaded = load_encoder(store_model(store.path))
                check_same_model(store.fingerprint, loaded.fingerprint, f"the store {store.path}")
            except ClipmineError as error:
                wrong = wrong or error
            else:
                return loaded
        assert wrong is not None
        raise wrong

    return load


def describe_indexes(retriever: Retriever) -> list[dict[str, Any]]:
    """The fields of `schemas.IndexInfo` for each modality that the store can search."""
    modalities: tuple[Modality, ...] = ("image", "text") if retriever.store.has_text else ("image",)
    described = []
    for modality in modalities:
        index = retriever.index(modality)
        recall = index.recall if index is not None else None
        described.append(
            {
                "modality": modality,
                "rows": retriever.store.rows,
                "kind": "exact" if index is None else "hnsw",
                "indexed": None if index is None else retriever.store.rows - index.tail_rows,
                "shards": 1 if index is None else index.shards,
                "ef_search": None if index is None else index.ef_search,
                "recall_at_10": None if recall is None else recall.recall_at_10,
                "least_recall_at_10": None if recall is None else recall.least_recall_at_10,
                "forgotten_since_recall": None if recall is None else len(retriever.store.forgotten) - recall.forgotten,
            }
        )
    return described
