from __future__ import annotations

import asyncio
import gzip
import io
import struct
import threading
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from retrieval.search.retriever import Retriever
from retrieval.service.backend import Found
from retrieval.service.local_backend import VECTORS_AT_ONCE, LocalBackend, describe_indexes


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels whose header is true and whose data is a few kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1_000))
        + chunk(b"IEND", b"")
    )


def test_images_are_bounded_in_pixels_before_they_are_decoded(client: httpx.Client) -> None:
    answer = client.post("/search/image?k=1", content=bomb())
    assert (answer.status_code, answer.json()["error"]) == (400, "image 0: cannot be used (too many pixels)")


@pytest.mark.parametrize(
    "data", [b"GIF89a", gzip.compress(b"x"), b"<svg onload='x'/>", b"%!PS", b"\xff\xd8\xff" + b"\0" * 99]
)
def test_what_is_no_image_is_one_clear_line(client: httpx.Client, data: bytes) -> None:
    answer = client.post("/search/image?k=1", content=data)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("image 0: cannot be used")


def test_images_are_decoded_off_the_event_loop(client: httpx.Client) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (9_000, 9_000)).save(stream, "JPEG")  # takes some tenths of a second to decode
    answers: list[httpx.Response] = []
    slow = threading.Thread(target=lambda: answers.append(client.post("/search/image?k=1", content=stream.getvalue())))
    slow.start()
    beside = 0
    while slow.is_alive():
        assert client.get("/healthz").status_code == 200
        beside += slow.is_alive()
    assert answers[0].status_code == 200
    assert beside > 2


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


def test_indexes_are_described_with_their_recall(served_store: EmbeddingStore, small_store: EmbeddingStore) -> None:
    image, text = describe_indexes(Retriever(served_store))
    assert (image["modality"], text["modality"], image["kind"]) == ("image", "text", "hnsw")
    assert image["rows"] == 33
    assert 0.9 <= image["recall_at_10"] <= 1
    (first, _) = describe_indexes(Retriever(small_store))
    assert (first["kind"], first["ef_search"], first["recall_at_10"]) == ("exact", None, None)
