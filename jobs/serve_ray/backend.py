"""The service's backend on Ray: asks all groups of shards at the same time and merges their answers.

A group that does not answer in time, or whose replicas have died, is named in `Found.missing`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore, Modality
from jobs.serve_ray.ask import PING_SECONDS, RECENT_SECONDS, GroupClient, first_line
from jobs.serve_ray.gather import Gathering
from jobs.serve_ray.groups import (
    describe_indexes,
    fitting_groups,
    merge,
    plan_group,
    read_indexes,
    short_queries,
)
from jobs.serve_ray.replicas import SEARCHES_AT_ONCE, Answer, Refusal, check_deployed
from retrieval.search.planner import SearchPlan
from retrieval.service.backend import Found, Overloaded, Texts, Unavailable
from retrieval.service.generations import files_identity

__all__ = ["RayBackend"]

log = logging.getLogger("ray.serve")

Vectors = npt.NDArray[np.floating[Any]]

VECTORS_AT_ONCE = 256  # most vectors in one call to the shards
# While this many calls run, new queries wait and are batched; more where the replicas can work on more at once.
CALLS_AT_ONCE = 4
# A group's deadline: the configured seconds plus this many times the planner's estimate of the search.
TIMES_THE_PLAN = 10
ENCODE_SECONDS, ENCODE_SECONDS_EACH = 10.0, 0.5  # ViT-L-14 took 0.3 s an image on one core


class RayBackend:
    """Implements `retrieval.service.backend.Backend` over deployment handles.

    encoders: handle of `jobs.serve_ray.replicas.Encoders`. shards: handles of `Shards`, one for each group; where the
    store's smallest index has fewer shards, the last ones have nothing to do. replicas: how many each group has, at
    least; most_replicas: and at most, where that changes. cores, device: of a group's replica. seconds: a group's
    deadline, beside the planner's estimate. queue: vectors that may wait. observe(stage, requests, size): called after
    every batch.
    """

    def __init__(
        self,
        store: EmbeddingStore,
        encoders: DeploymentHandle[Any],
        shards: Sequence[DeploymentHandle[Any]],
        *,
        name: str | None = None,
        replicas: int = 1,
        most_replicas: int | None = None,
        cores: int = 1,
        device: str = "cpu",
        seconds: float = 2.0,
        queue: int = 1_024,
    ) -> None:
        self.store = store
        self.name = name or store.path.name
        self.observe: Callable[[str, int, int], None] | None = None
        # Taken before the indexes are read: a change in between is seen as one, and read again.
        self._identity = files_identity(store)
        groups = fitting_groups(store, len(shards))
        most = most_replicas or replicas
        self._groups = [
            GroupClient(group, handle, replicas, most) for group, handle in zip(groups, shards, strict=False)
        ]
        self._indexes, self._described = read_indexes(store), describe_indexes(store)
        self._encoders = encoders
        self._again = partial(
            RayBackend,
            encoders=encoders,
            shards=shards,
            name=name,
            replicas=replicas,
            most_replicas=most,
            cores=cores,
            device=device,
            seconds=seconds,
            queue=queue,
        )
        self._encoded = -math.inf  # when an encoder last answered
        self.generation = groups[0].generation
        self._cores, self._device, self._seconds = cores, device, seconds
        calls = max(CALLS_AT_ONCE, SEARCHES_AT_ONCE * most)
        self._gathering = Gathering("the search", self._search, most=VECTORS_AT_ONCE, queue=queue, calls=calls)

    async def encode_texts(self, texts: Sequence[str], *, repeatable: bool = False) -> Texts:
        found: Texts = await self._encode("encode_texts", list(texts), repeatable=repeatable)
        return found

    async def encode_images(self, images: Sequence[bytes]) -> npt.NDArray[np.float16]:
        rows: npt.NDArray[np.float16] = await self._encode("encode_images", list(images))
        return rows

    async def search(
        self,
        vectors: Vectors,
        modality: Modality,
        k: int,
        method: str | None = None,
        exclude: npt.NDArray[np.int64] | None = None,
    ) -> Found:
        key = _BatchKey(modality, k, method, _Excluded(exclude) if exclude is not None and len(exclude) else None)
        return await self._gathering.submit(key, np.ascontiguousarray(vectors, np.float32))

    async def plan(self, modality: Modality, queries: int, k: int, method: str | None = None) -> SearchPlan:
        return self._plan(modality, queries, k, method)

    def indexes(self) -> list[dict[str, Any]]:
        return self._described

    async def ready(self) -> str | None:
        problem = await self._encoder_problem()
        if problem is not None:
            return problem
        up = await asyncio.gather(*(group.ping() for group in self._groups))
        return None if any(up) else "no shard answers"

    async def newer(self) -> RayBackend | None:
        """A backend over the store as it is on the disk now, which the replicas have opened; None without a change.

        Raises:
            Unavailable: a group's replicas have not opened it yet, or are being replaced.
            BadInput: the store was embedded anew with another model, which the encoders do not have.
        """
        backend = await asyncio.to_thread(self._newer)
        if backend is None:
            return None
        for problem in await asyncio.gather(*(group.open() for group in backend._groups)):
            if problem is not None:
                await backend.close()
                raise Unavailable(problem)
        return backend

    def _newer(self) -> RayBackend | None:
        if files_identity(self.store) == self._identity and not self.store.changed():
            return None
        store = EmbeddingStore.open(self.store.path)
        check_deployed(store, self.store.fingerprint)
        return self._again(store)

    async def close(self) -> None:
        await self._gathering.close()
        for group in self._groups:
            group.close()

    def _plan(self, modality: Modality, queries: int, k: int, method: str | None) -> SearchPlan:
        groups = [asked.group for asked in self._groups]
        index = self._indexes[modality]
        return plan_group(self.store, groups, index, modality, queries, k, method, self._cores, self._device)

    async def _search(self, key: _BatchKey, vectors: Vectors) -> Found:
        """Ask all groups and merge; queries for which the graphs found fewer than k rows are searched exactly."""
        plan = self._plan(key.modality, len(vectors), key.k, key.method)
        (scores, rows), missing = await self._ask(key, vectors, plan.method, plan)
        if plan.method == "hnsw" and len(short := short_queries(rows)):
            exact = self._plan(key.modality, len(short), key.k, "exact")
            (scores[short], rows[short]), also = await self._ask(key, vectors[short], "exact", exact)
            missing = tuple(sorted({*missing, *also}))
        if self.observe is not None:
            self.observe("search", 1, len(vectors))
        over = f" in each of {len(self._groups)} groups of shards" if len(self._groups) > 1 else ""
        return Found(scores, rows, f"{plan.method}{over}: {plan.why}", missing)

    async def _ask(
        self, key: _BatchKey, vectors: Vectors, method: str, plan: SearchPlan
    ) -> tuple[Answer, tuple[str, ...]]:
        expected = plan.exact_seconds if method == "exact" else plan.hnsw_seconds or 0.0
        deadline = time.monotonic() + self._seconds + TIMES_THE_PLAN * expected
        exclude = key.exclude.rows if key.exclude is not None else None
        question = (vectors, key.modality, key.k, method, exclude)
        answers = await asyncio.gather(*(group.ask(question, deadline) for group in self._groups))
        missing = tuple(
            asked.group.missing(key.modality)
            for asked, answer in zip(self._groups, answers, strict=True)
            if answer is None
        )
        found = [answer for answer in answers if answer is not None]
        if not found:
            raise Unavailable("no shard answers; its replicas are being replaced")
        merged = await asyncio.to_thread(merge, self.store, key.modality, vectors, found, key.k, method == "exact")
        return merged, missing

    async def _encoder_problem(self) -> str | None:
        """Why no encoder answers, if so. An encoder that has just answered is not asked, since it may be busy."""
        if time.monotonic() - self._encoded < RECENT_SECONDS:
            return None
        try:
            async with asyncio.timeout(PING_SECONDS):
                refusal: str | None = await self._encoders.ready.remote()
        except (TimeoutError, RayError, RayServeException):
            return "the encoder does not answer; its replica is busy or being replaced"
        if refusal is None:
            self._encoded = time.monotonic()
        return refusal

    async def _encode(self, method: str, items: list[Any], **options: Any) -> Any:
        """Ask an encoder; if it dies before it answers, ask another one once."""
        deadline = time.monotonic() + ENCODE_SECONDS + ENCODE_SECONDS_EACH * len(items)
        for attempt in range(2):
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    answer = await getattr(self._encoders, method).remote(items, **options)
            except TimeoutError as error:
                raise Unavailable("the encoder does not answer; its replica is busy or being replaced") from error
            except BackPressureError as error:
                raise Overloaded("the encoder") from error
            except (RayError, RayServeException) as error:
                log.warning("an encoder did not answer (attempt %d): %s", attempt + 1, first_line(error))
                continue
            if not isinstance(answer, Refusal):
                self._encoded = time.monotonic()
                if self.observe is not None:
                    self.observe(method, 1, len(items))
                return answer
            if answer.kind == "Overloaded":
                raise Overloaded("the encoder")
            if answer.kind == "BadInput":
                raise BadInput(answer.message)
            log.warning("an encoder refused: %s", answer.message)
            raise Unavailable(answer.message)
        raise Unavailable("the encoder does not answer; its replica is being replaced")


@dataclass(frozen=True, eq=False)
class _Excluded:
    """Rows to exclude. Compares equal to itself only, so that searches with exclusions never share a call."""

    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _BatchKey:
    modality: Modality
    k: int
    method: str | None
    exclude: _Excluded | None
