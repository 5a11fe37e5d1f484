"""The replicas of the service on Ray: encoders, and shards that search their own rows.

Errors come back as data (`Refusal`), not as exceptions: Ray would wrap an exception, and the front needs its kind.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput, ClipmineError, StoreInvalid
from index.graph.search_index import HnswIndex, open_index
from index.store.embedding_store import EmbeddingStore, Modality
from jobs.serve_ray.groups import Group, Part, fitting_groups
from retrieval.service.backend import Texts
from retrieval.service.generations import generation_name
from retrieval.service.settings import Settings

__all__ = ["SEARCHES_AT_ONCE", "Answer", "Encoders", "Refusal", "Searched", "Shards", "check_deployed"]

log = logging.getLogger("ray.serve")  # goes to the replica's log file

GENERATIONS = 2  # of a store, open at the same time
SEARCHES_AT_ONCE = 2  # in one replica of a group

Answer = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
# Scores, rows, and what tells the replica that found them from others.
Searched = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], str]


@dataclass(frozen=True)
class Refusal:
    """Why a replica did not answer. kind: the name of the error's class."""

    kind: str
    message: str


def check_deployed(store: EmbeddingStore, deployed: Mapping[str, Any]) -> None:
    """Raise BadInput unless the store's vectors are of the model that it had when the service was deployed."""
    if dict(store.fingerprint) != dict(deployed):
        raise BadInput(f"{store.path}: was embedded with another model since; deploy the service again")


class Encoders:
    """A replica with the store's model. Requests that arrive at the same time are encoded in one batch.

    For a store without a known model it refuses every text and image; searching by vectors still works.

    Raises, when it starts: BadInput where the store was embedded again with another model than the one deployed.
    """

    def __init__(
        self, store: str, settings: Settings, threads: int, device: str | None, deployed: Mapping[str, Any]
    ) -> None:
        import torch

        from index.encoder.loading import load_encoder
        from index.store.store_model import store_model
        from retrieval.service.local_backend import LocalBackend

        torch.set_num_threads(threads)
        self._backend: LocalBackend | None = None
        opened = EmbeddingStore.open(store)
        check_deployed(opened, deployed)
        try:
            model = store_model(opened.path)
        except BadInput as error:
            self._refusal = Refusal("BadInput", str(error))
        else:
            self._backend = LocalBackend(opened, load_encoder(model, device), settings)

    async def encode_texts(self, texts: Sequence[str], repeatable: bool = False) -> Texts | Refusal:
        if self._backend is None:
            return self._refusal
        answer: Texts | Refusal = await _as_data(self._backend.encode_texts(texts, repeatable=repeatable))
        return answer

    async def encode_images(self, images: Sequence[bytes]) -> npt.NDArray[np.float16] | Refusal:
        if self._backend is None:
            return self._refusal
        answer: npt.NDArray[np.float16] | Refusal = await _as_data(self._backend.encode_images(images))
        return answer

    async def ready(self) -> str | None:
        """None when texts can be encoded; otherwise one line that says why not. Does not wait for the queue."""
        return self._refusal.message if self._backend is None else await self._backend.ready()

    async def ping(self) -> int:
        """The replica's process id."""
        return os.getpid()


@dataclass(frozen=True)
class _Opened:
    """A group's rows and index shards, open."""

    store: EmbeddingStore
    parts: dict[str, Part]
    indexes: dict[str, HnswIndex]

    @classmethod
    def open(cls, path: str, group: Group) -> _Opened:
        """Raises StoreInvalid where another generation is on the disk, or a shard is not what its index says."""
        store = EmbeddingStore.open(path)
        _check_generation(store, group)
        indexes: dict[str, HnswIndex] = {
            modality: open_index(store, modality, part.shards)  # type: ignore[arg-type]
            for modality, part in group.parts.items()
            if part.shards
        }
        _check_generation(store, group)  # copying shards of a remote store takes long, and a build may end meanwhile
        return cls(store, group.parts, indexes)


def _check_generation(store: EmbeddingStore, group: Group) -> None:
    there = generation_name(store)
    if there != group.generation:
        raise StoreInvalid(f"{store.path}: generation {group.generation} is asked for, and {there} is on the disk")


class Shards:
    """A replica that owns some index shards and rows of each modality: those of group `number` of `count`.

    Each request names its group's generation. One that is not open yet is opened, while searches of others go on; of
    those that are open the two used last stay, for fronts that have not seen the change yet.

    Raises, when it starts: StoreInvalid where a shard is not what its index says.
    """

    def __init__(self, store: str, number: int, count: int, threads: int, device: str) -> None:
        import faiss
        import torch

        from retrieval.search.scan import scan

        # Imported when the replica starts: the first scan would miss its deadline while torch loads.
        self._run_scan = scan
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)
        self._path, self._device = store, device
        self._name = f"{socket.gethostname()} {os.getpid()}"
        self._opened: OrderedDict[str, _Opened] = OrderedDict()  # by generation, the one used last at the end
        self._changing, self._opening = threading.Lock(), ThreadPoolExecutor(1, "open")
        groups = fitting_groups(EmbeddingStore.open(store), count)
        if number < len(groups):
            self._open(groups[number])
        # OpenMP keeps a number of threads for each calling thread, so it is set in every thread of the pool.
        self._pool = ThreadPoolExecutor(SEARCHES_AT_ONCE, "search", faiss.omp_set_num_threads, (threads,))

    async def open(self, group: Group) -> str | Refusal:
        """Open a generation before requests ask for it; returns what tells this replica from others."""
        answer: _Opened | Refusal = await _as_data(self._when_open(group))
        return answer if isinstance(answer, Refusal) else self._name

    async def search(
        self,
        group: Group,
        vectors: npt.NDArray[np.float32],
        modality: Modality,
        k: int,
        method: str,
        exclude: npt.NDArray[np.int64] | None = None,
    ) -> Searched | Refusal:
        """The k best of the group's rows for each of the unit rows [q, d]; -inf and -1 where there are fewer."""

        async def found() -> Searched:
            opened = await self._when_open(group)
            loop = asyncio.get_running_loop()
            question = opened, vectors, modality, k, method, exclude
            return *(await loop.run_in_executor(self._pool, self._search, *question)), self._name

        answer: Searched | Refusal = await _as_data(found())
        return answer

    async def ping(self) -> int:
        """The replica's process id."""
        return os.getpid()

    async def _when_open(self, group: Group) -> _Opened:
        found = self._known(group)
        if found is None:
            found = await asyncio.get_running_loop().run_in_executor(self._opening, self._open, group)
        return found

    def _known(self, group: Group) -> _Opened | None:
        with self._changing:
            found = self._opened.get(group.generation)
            if found is not None:
                self._opened.move_to_end(group.generation)
            return found

    def _open(self, group: Group) -> _Opened:
        found = self._known(group)
        if found is not None:
            return found
        opened = _Opened.open(self._path, group)
        with self._changing:
            self._opened[group.generation] = opened
            while len(self._opened) > GENERATIONS:
                self._opened.popitem(last=False)
        return opened

    def _search(
        self,
        opened: _Opened,
        vectors: npt.NDArray[np.float32],
        modality: Modality,
        k: int,
        method: str,
        exclude: npt.NDArray[np.int64] | None,
    ) -> Answer:
        wide = np.array(vectors, np.float32)  # Ray's arrays are read-only, which torch warns about
        if method == "hnsw":
            index = opened.indexes[modality]
            return index.search_unchecked(wide, k, index.ef_search, exclude)
        part = opened.parts[modality]
        return self._run_scan(
            opened.store, modality, wide, k, exclude=exclude, device=self._device, start=part.start, stop=part.stop
        )


async def _as_data(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except ClipmineError as error:
        return Refusal(type(error).__name__, str(error))
    except Exception as error:
        log.exception("a request failed")
        return Refusal(type(error).__name__, f"{type(error).__name__}: {error}")
