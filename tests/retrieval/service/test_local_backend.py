from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from retrieval.search.retriever import Retriever
from retrieval.service.backend import Found
from retrieval.service.local_backend import VECTORS_AT_ONCE, LocalBackend, describe_indexes, open_backends
from retrieval.service.settings import Settings
from tests.retrieval.stores import make_store, random_unit


def test_searches_of_one_key_share_a_call_and_get_their_own_rows(served_store: EmbeddingStore) -> None:
    async def ask() -> list[Found]:
        backend = LocalBackend(served_store)
        vectors = served_store.gather("image", [1, 2, 3])
        found = await asyncio.gather(
            backend.search(vectors[:1], "image", 4, "exact"),
            backend.search(vectors[1:], "image", 4, "exact"),
            backend.search(vectors[:1], "text", 4, "exact"),
            backend.search(vectors[:1], "image", 4, "exact", exclude=np.array([1])),
        )
        await backend.close()
        return list(found)

    first, second, of_captions, without = asyncio.run(ask())
    assert first.row_ids[0, 0] == 1
    assert second.row_ids[:, 0].tolist() == [2, 3]
    assert of_captions.row_ids.tolist() != first.row_ids.tolist()
    assert without.row_ids[0, :3].tolist() == first.row_ids[0, 1:].tolist()
    assert first.plan.startswith("exact: as asked")


def test_a_search_that_cannot_be_does_not_fail_the_ones_beside_it(small_store: EmbeddingStore) -> None:
    async def ask() -> list[Found | BaseException]:
        backend = LocalBackend(small_store)
        vectors = small_store.gather("image", [1])
        asked = (backend.search(vectors, "image", 2, method) for method in ("hnsw", "exact"))
        found = await asyncio.gather(*asked, return_exceptions=True)
        await backend.close()
        return list(found)

    without_index, scanned = asyncio.run(ask())
    assert isinstance(without_index, BadInput)
    assert isinstance(scanned, Found)
    assert scanned.row_ids[0, 0] == 1


def test_many_vectors_are_searched_beside_the_queue(served_store: EmbeddingStore) -> None:
    async def ask() -> tuple[Found, list[str]]:
        stages: list[str] = []
        backend = LocalBackend(served_store, observe=lambda stage, requests, size: stages.append(stage))
        vectors = np.tile(served_store.gather("image", [7]), (VECTORS_AT_ONCE + 1, 1))
        found = await backend.search(vectors, "image", 2)
        await backend.close()
        return found, stages

    found, stages = asyncio.run(ask())
    assert set(found.row_ids[:, 0].tolist()) == {7}
    assert stages == []


def test_searches_that_leave_out_rows_do_not_keep_others(served_store: EmbeddingStore) -> None:
    async def ask() -> int:
        backend = LocalBackend(served_store)
        backend.load()
        may_end, searched = threading.Event(), backend._retriever.search

        def search(*given: Any, **named: Any) -> Any:
            if named["exclude"] is not None:
                assert may_end.wait(20)
            return searched(*given, **named)

        backend._retriever.search = search  # type: ignore[method-assign]
        vectors = served_store.gather("image", [1])
        without = asyncio.create_task(backend.search(vectors, "image", 2, exclude=np.array([3])))
        await asyncio.sleep(0.05)
        found = await asyncio.wait_for(backend.search(vectors, "image", 2), 10)
        may_end.set()
        assert 3 not in (await without).row_ids
        await backend.close()
        return int(found.row_ids[0, 0])

    assert asyncio.run(ask()) == 1


def test_indexes_are_described_with_their_recall(served_store: EmbeddingStore, small_store: EmbeddingStore) -> None:
    image, text = describe_indexes(Retriever(served_store))
    assert (image["modality"], text["modality"], image["kind"]) == ("image", "text", "hnsw")
    assert image["rows"] == 33
    assert 0.9 <= image["recall_at_10"] <= 1
    assert (image["least_recall_at_10"] <= image["recall_at_10"], image["forgotten_since_recall"]) == (True, 0)
    (first, _) = describe_indexes(Retriever(small_store))
    assert (first["kind"], first["ef_search"], first["recall_at_10"]) == ("exact", None, None)


def test_a_scan_that_takes_long_does_not_delay_searches_of_the_graph(served_store: EmbeddingStore) -> None:
    async def ask() -> list[str]:
        backend = LocalBackend(served_store)
        backend.load()
        slow = replace(await backend.plan("image", 1, 2, "exact"), exact_seconds=10.0)
        may_end, order = threading.Event(), list[str]()
        searched = backend._retriever.search

        def search(*given: Any, **named: Any) -> Any:
            if named["method"] == "exact":
                assert may_end.wait(20)
            return searched(*given, **named)

        async def plan(*given: Any) -> Any:
            return slow if given[3] == "exact" else await LocalBackend.plan(backend, *given)

        backend._retriever.search = search  # type: ignore[method-assign]
        backend.plan = plan  # type: ignore[method-assign, assignment]
        vectors = served_store.gather("image", [1])
        scan = asyncio.create_task(backend.search(vectors, "image", 2, "exact"))
        scan.add_done_callback(lambda _: order.append("scan"))
        await asyncio.sleep(0.05)
        await backend.search(vectors, "image", 2, "hnsw")
        order.append("graph")
        may_end.set()
        await scan
        await asyncio.sleep(0)
        await backend.close()
        return order

    assert asyncio.run(ask()) == ["graph", "scan"]


def test_stores_of_one_model_share_its_encoder(
    served_store: EmbeddingStore, small_store: EmbeddingStore, tmp_path: Path
) -> None:
    other = make_store(tmp_path, random_unit(4))
    first, second, third = open_backends({"a": served_store, "b": small_store, "c": other}, Settings(name="unused"))
    assert first._encoding is second._encoding is not third._encoding
    assert [first.name, second.name, third.name] == ["a", "b", "c"]

    async def ask() -> int:
        await first.close()
        found = await second.encode_texts(["a red circle"])  # small_store names no model; served_store does
        await second.close()
        await third.close()
        return len(found.vectors)

    assert asyncio.run(ask()) == 1
