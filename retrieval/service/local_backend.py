"""The backend of one process: the encoder and the memory-mapped indexes, each behind a batch queue.

Encoding texts, encoding images and searching have a thread each, so that one batch is searched while the next is
encoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from index.corpus.image_decoding import ImageRejected, decode_image
from index.errors import BadInput, ClipmineError
from index.store.embedding_store import EmbeddingStore, Modality
from retrieval.query_blocks import PROMPTS_AT_ONCE
from retrieval.search.retriever import Retriever
from retrieval.service.backend import Found, Texts, Unavailable
from retrieval.service.batching import Batcher
from retrieval.service.memory import run_in_halves
from retrieval.service.settings import Settings

if TYPE_CHECKING:
    from index.encoder.clip_encoder import Encoder

__all__ = ["LocalBackend", "decode_query_image", "describe_indexes"]

IMAGES_AT_ONCE = 16
VECTORS_AT_ONCE = 256  # in one call of the index

# Called after each batch with the stage's name, its number of requests, and their size in texts, images or vectors.
Observe = Callable[[str, int, int], None]


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
        return (self.modality, self.k, self.method, None if self.exclude is None else id(self))


class LocalBackend:
    """A store, its indexes and its encoder in this process. Implements `backend.Backend`.

    encoder: by default the store's own model, loaded when it is first needed. observe: see `Observe`.
    """

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
        self._texts: Batcher[tuple[list[str], bool], Texts] = Batcher(
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

    async def encode_texts(self, texts: Sequence[str], *, repeatable: bool = False) -> Texts:
        return await self._texts.submit((list(texts), repeatable), len(texts))

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
        # Many vectors may mean a long scan, which single queries must not wait for.
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

    def _encode(self, requests: list[tuple[list[str], bool]]) -> list[Texts]:
        texts = [text for own, _ in requests for text in own]
        # A text has its repeatable vector only in a batch that is made so as a whole.
        encode = partial(self._retriever.encoder.encode_queries, repeatable=any(asked for _, asked in requests))
        vectors, cut = run_in_halves(encode, texts, _join)
        answers, start = [], 0
        for own, _ in requests:
            end = start + len(own)
            answers.append(Texts(vectors[start:end], cut[start:end]))
            start = end
        return answers

    def _encode_pixels(self, pictures: list[npt.NDArray[np.uint8]]) -> list[npt.NDArray[np.float16]]:
        encoder = self._retriever.encoder
        return list(run_in_halves(lambda some: encoder.encode_pixels(np.stack(some)), pictures, np.concatenate))

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


def decode_query_image(encoder: Encoder, data: bytes, place: int, settings: Settings) -> npt.NDArray[np.uint8]:
    """An image file as the model's pixels, its size bounded before it is decoded. BadInput says why not."""
    try:
        return encoder.to_pixels(decode_image(data, settings.max_image_bytes, settings.max_image_pixels))
    except ImageRejected as error:
        raise BadInput(f"image {place}: cannot be used ({error.reason.replace('_', ' ')})") from error


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
                "shards": 1 if index is None else index.shards,
                "ef_search": None if index is None else index.ef_search,
                "recall_at_10": None if recall is None else recall.recall_at_10,
            }
        )
    return described


def _join(parts: list[tuple[npt.NDArray[np.float16], list[bool]]]) -> tuple[npt.NDArray[np.float16], list[bool]]:
    return np.concatenate([vectors for vectors, _ in parts]), [cut for _, cuts in parts for cut in cuts]
