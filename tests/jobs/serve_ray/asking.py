"""Questions to the service on Ray, to a backend over its replicas, and to a backend of one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.backend import RayBackend
from jobs.serve_ray.start import APP
from retrieval.service.local_backend import LocalBackend

TEXTS = ["a red circle", "a blue square", "nothing of the kind", "a green circle"]
FIRST = 11  # rows of the first of two groups


def handle(deployment: str) -> Any:
    from ray import serve

    return serve.get_deployment_handle(deployment, APP)


def ask_backend(store: EmbeddingStore, question: Callable[[RayBackend], Any], seconds: float = 20) -> Any:
    """What a backend of this process answers over the replicas."""

    async def ask() -> Any:
        shards = [handle("shards-0"), handle("shards-1")]
        backend = RayBackend(store, handle("encoders"), shards, seconds=seconds)
        try:
            return await question(backend)
        finally:
            await backend.close()

    return asyncio.run(ask())


def ask_local(store: EmbeddingStore, question: Callable[[LocalBackend], Any]) -> Any:
    async def ask() -> Any:
        backend = LocalBackend(store)
        try:
            return await question(backend)
        finally:
            await backend.close()

    return asyncio.run(ask())


def search(url: str, **more: Any) -> httpx.Response:
    request = {"queries": [{"text": text} for text in TEXTS], "k": 8, "method": "exact", **more}
    return httpx.post(f"{url}/search", json=request, timeout=120)


def found_rows(answer: dict[str, Any]) -> list[list[int]]:
    return [[row["row_id"] for row in result["rows"]] for result in answer["results"]]
