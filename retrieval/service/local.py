"""The backend of one process: the encoder, the memory-mapped indexes and the store, each behind a batch queue.

Encoding and searching have a thread each, so that one batch is searched while the next is encoded. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from index.corpus.images import ImageRejected, decode_image
from index.errors import BadInput, ClipmineError
from index.store.embedding_store import EmbeddingStore, Modality
from retrieval.query_blocks import PROMPTS_AT_ONCE
from retrieval.search.retriever import Retriever
from retrieval.service.backend import Found, Texts, Unavailable
from retrieval.service.batching import Batcher
from retrieval.service.settings import Settings

if TYPE_CHECKING:
    from index.encoder.clip_encoder import Encoder

__all__ = ["LocalBackend", "decode_query_image", "describe_indexes"]

log = logging.getLogger("clipmine.service")

IMAGES_AT_ONCE = 16
VECTORS_AT_ONCE = 256  # a call of the index
_MODES: dict[Modality, Any] = {"image": "t2i", "text": "t2t"}

Observe = Callable[[str, int, int], None]  # stage, requests, size


@dataclass(frozen=True)
class _Search:
    vectors: npt.NDArray[np.floating[Any]]
    modality: Modality
    k: int
    method: str | None
    exclude: npt.NDArray[np.int64] | None

    @property
    def company(self) -> tuple[Any, ...]:
        """Searches with the same one may share a call."""
        return (self.modality, self.k, self.method, None if self.exclude is None else id(self))


class LocalBackend:
    """A store, its indexes and its encoder in this process. Implements `backend.Backend`."""

    def __init__(
        self,
        store: EmbeddingStore,
        encoder: Encoder | None = None,
        settings: Settings | None = None,
        observe: Observe | None = None,
    ) -> None:
        settings = settings or Settings()
        self.store = store
        self.name = settings.name or store.path.name
        self.settings = settings
        self.observe: Observe | None = observe
        self._retriever = Retriever(store, encoder)
        self._decoders = ThreadPoolExecutor(2, thread_name_prefix="decode")
        self._bulk = ThreadPoolExecutor(1, thread_name_prefix="bulk-search")
        limits: dict[str, Any] = {"queue": settings.queue, "wait_ms": settings.wait_ms}
        self._texts: Batcher[list[str], Texts] = Batcher(
            "the text encoder", self._encode, most=PROMPTS_AT_ONCE, observe=self._observer("encode_texts"), **limits
        )
        self._images: Batcher[npt.NDArray[np.uint8], npt.NDArray[np.float16]] = Batcher(
            "the image encoder", self._encode_pixels, most=IMAGES_AT_ONCE, observe=self._observer("encode_images"),
            **limits,
        )  # fmt: skip
        self._searches: Batcher[_Search, Found] = Batcher(
            "the search", self._search, most=VECTORS_AT_ONCE, observe=self._observer("search"), **limits
        )

    def load(self) -> None:
        """Open the indexes and load the encoder now. Raises what opening and loading raise."""
        self.indexes()
        self._retriever.encoder.encode_queries(["ready"])

    async def encode_texts(self, texts: Sequence[str]) -> Texts:
        return await self._texts.submit(list(texts), len(texts))

    async def encode_images(self, images: Sequence[bytes]) -> npt.NDArray[np.float16]:
        loop = asyncio.get_running_loop()
        pixels = await asyncio.gather(
            *(
                loop.run_in_executor(
                    self._decoders, decode_query_image, self._retriever.encoder, data, place, self.settings
                )
                for place, data in enumerate(images)
            )
        )
        rows = await asyncio.gather(*(self._images.submit(picture) for picture in pixels))
        return np.stack(rows)

    async def search(
        self,
        vectors: npt.NDArray[np.floating[Any]],
        modality: Modality,
        k: int,
        method: str | None = None,
        exclude: npt.NDArray[np.int64] | None = None,
    ) -> Found:
        search = _Search(vectors, modality, k, method, exclude)
        if len(vectors) <= VECTORS_AT_ONCE:
            return await self._searches.submit(search, len(vectors))
        # A long scan must not make single queries wait behind it.
        found = (await asyncio.get_running_loop().run_in_executor(self._bulk, self._search, [search]))[0]
        if isinstance(found, Exception):
            raise found
        return found

    def plan(self, modality: Modality, queries: int, k: int, method: str | None = None) -> str:
        return self._retriever.plan(modality, queries, k, method).method

    def indexes(self) -> list[dict[str, Any]]:
        return describe_indexes(self._retriever)

    async def ready(self) -> str | None:
        try:
            await self.encode_texts(["ready"])
        except ClipmineError as error:
            return str(error)
        return None

    async def close(self) -> None:
        for batcher in (self._texts, self._images, self._searches):
            await batcher.close()
        self._decoders.shutdown()
        self._bulk.shutdown()

    def _observer(self, stage: str) -> Callable[[int, int], None]:
        def observe(requests: int, size: int) -> None:
            if self.observe is not None:
                self.observe(stage, requests, size)

        return observe

    def _encode(self, requests: list[list[str]]) -> list[Texts]:
        texts = [text for request in requests for text in request]
        encoder = self._retriever.encoder
        vectors, cut = in_memory(lambda some: encoder.encode_queries(some), texts, _join)
        answers, start = [], 0
        for request in requests:
            end = start + len(request)
            answers.append(Texts(vectors[start:end], cut[start:end]))
            start = end
        return answers

    def _encode_pixels(self, pictures: list[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.float16]]:
        encoder = self._retriever.encoder
        return list(in_memory(lambda some: encoder.encode_pixels(np.stack(some)), pictures, np.concatenate))

    def _search(self, searches: list[_Search]) -> list[Found | Exception]:
        together: dict[tuple[Any, ...], list[int]] = {}
        for place, search in enumerate(searches):
            together.setdefault(search.company, []).append(place)
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
        """One call for searches of one `company`: the answers below each other."""
        first = group[0]
        vectors = np.concatenate([search.vectors for search in group])
        found = self._retriever.search(
            vectors, first.k, mode=_MODES[first.modality], method=first.method, exclude=first.exclude
        )
        return Found(found.scores, found.row_ids, f"{found.plan.method}: {found.plan.why}")


def decode_query_image(encoder: Encoder, data: bytes, place: int, settings: Settings) -> npt.NDArray[np.uint8]:
    """An image file as the model's pixels, its size bounded before it is decoded. BadInput says why not."""
    try:
        return encoder.to_pixels(decode_image(data, settings.max_image_bytes, settings.max_image_pixels))
    except ImageRejected as error:
        raise BadInput(f"image {place}: cannot be used ({error.reason.replace('_', ' ')})") from error


def describe_indexes(retriever: Retriever) -> list[dict[str, Any]]:
    """`wire.IndexInfo`'s fields for each modality that a store can search."""
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
                "shards": 1 if index is None else index.shards,
                "ef_search": None if index is None else index.ef_search,
                "recall_at_10": None if recall is None else recall.recall_at_10,
            }
        )
    return described


def in_memory(function: Callable[[list[Any]], Any], items: list[Any], join: Callable[[list[Any]], Any]) -> Any:
    """`function(items)`; where memory runs out, in halves, down to one item, for which Unavailable is raised."""
    try:
        return function(items)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        log.warning("the encoder ran out of memory with %d inputs: %s", len(items), str(error).splitlines()[0])
        if len(items) == 1:
            raise Unavailable("the encoder has run out of memory; try again later") from error
    middle = len(items) // 2
    return join([in_memory(function, items[:middle], join), in_memory(function, items[middle:], join)])


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "memory" in str(error).lower()  # torch has a class for CUDA's only


def _join(parts: list[tuple[npt.NDArray[np.float16], list[bool]]]) -> tuple[npt.NDArray[np.float16], list[bool]]:
    return np.concatenate([vectors for vectors, _ in parts]), [cut for _, cuts in parts for cut in cuts]
