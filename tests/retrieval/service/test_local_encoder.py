from __future__ import annotations

import asyncio
import gzip
import io
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from PIL import Image

from index.encoder.loading import load_encoder
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import store_model
from retrieval.service import local_encoder
from retrieval.service.app import create_app
from retrieval.service.local_backend import LocalBackend
from retrieval.service.local_encoder import LocalEncoder
from retrieval.service.settings import Settings
from tests.index.hostile_images import jpeg_of_scans
from tests.serving import run_app


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
    "data", [b"GIF89a", gzip.compress(b"x", mtime=0), b"<svg onload='x'/>", b"%!PS", b"\xff\xd8\xff" + b"\0" * 99]
)
def test_what_is_no_image_is_one_clear_line(client: httpx.Client, data: bytes) -> None:
    answer = client.post("/search/image?k=1", content=data)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("image 0: cannot be used")


def test_images_are_decoded_off_the_event_loop(client: httpx.Client) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (4_096, 4_096)).save(stream, "JPEG")  # takes some tenths of a second to decode
    answers: list[httpx.Response] = []
    slow = threading.Thread(target=lambda: answers.append(client.post("/search/image?k=1", content=stream.getvalue())))
    slow.start()
    beside = 0
    while slow.is_alive():
        assert client.get("/healthz").status_code == 200
        beside += slow.is_alive()
    assert answers[0].status_code == 200
    assert beside > 2


class HeldEncoder:
    """The store's model, which encodes a text with the word "held" only when it may."""

    def __init__(self, store: EmbeddingStore) -> None:
        self._encoder = load_encoder(store_model(store.path))
        self.entered, self.may_go_on = threading.Event(), threading.Event()

    def encode_queries(self, texts: list[str], **options: Any) -> Any:
        if any("held" in text for text in texts):
            self.entered.set()
            assert self.may_go_on.wait(30)
        return self._encoder.encode_queries(texts, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)


def until(status: int, url: str) -> httpx.Response:
    """The answer when it has this status; the last one after 30 s."""
    end = time.monotonic() + 30
    while (answer := httpx.get(url, timeout=10)).status_code != status and time.monotonic() < end:
        time.sleep(0.05)
    return answer


def test_readiness_and_metrics_do_not_wait_for_texts_that_are_being_encoded(
    served_store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: Any = HeldEncoder(served_store)
    app = create_app(LocalBackend(served_store, held, Settings()))
    body = {"queries": [{"text": "held back"}] * 200, "k": 2}
    with run_app(app) as url, ThreadPoolExecutor(1) as pool:
        assert until(200, f"{url}/readyz").status_code == 200
        waits = pool.submit(httpx.post, f"{url}/search", json=body, timeout=60)
        try:
            assert held.entered.wait(30)
            for path in ("readyz", "metrics", "healthz", "indexes", "rows/3"):
                assert httpx.get(f"{url}/{path}", timeout=10).status_code == 200
            monkeypatch.setattr(local_encoder, "STUCK_SECONDS", 0.0)
            stuck = until(503, f"{url}/readyz")
            assert stuck.status_code == 503
            assert stuck.json()["error"].startswith("the text encoder has been busy with one call for ")
        finally:
            held.may_go_on.set()
        assert waits.result().status_code == 200


def test_long_requests_leave_room_for_short_ones_between_their_texts(served_store: EmbeddingStore) -> None:
    held: Any = HeldEncoder(served_store)
    app = create_app(LocalBackend(served_store, held, Settings()))
    long = {"queries": [{"text": "held back"}] * 64 + [{"text": f"thing {number}"} for number in range(448)], "k": 1}
    with run_app(app) as url, ThreadPoolExecutor(2) as pool:
        first = pool.submit(httpx.post, f"{url}/search", json=long, timeout=60)
        assert held.entered.wait(30)
        second = pool.submit(httpx.post, f"{url}/search", json={"queries": [{"text": "a"}], "k": 1}, timeout=60)
        held.may_go_on.set()
        assert (first.result().status_code, second.result().status_code) == (200, 200)
        sizes = httpx.get(f"{url}/metrics").text
    stage = 'stage="encode_texts"'
    found = {
        line.split()[0]: float(line.split()[1])
        for line in sizes.splitlines()
        if line.startswith("clipmine_batch_size") and stage in line
    }
    batches = found[f"clipmine_batch_size_count{{{stage}}}"]
    assert batches >= 8
    assert found[f'clipmine_batch_size_bucket{{le="64.0",{stage}}}'] == batches, "no batch has more than 64 texts"


class CountedEncoder:
    """The store's model, whose scaling of a decoded image counts, and waits until it may go on."""

    def __init__(self, store: EmbeddingStore) -> None:
        self._encoder = load_encoder(store_model(store.path))
        self.scaled = 0
        self.entered, self.may_go_on = threading.Event(), threading.Event()

    def to_pixels(self, image: Image.Image) -> Any:
        self.scaled += 1
        self.entered.set()
        assert self.may_go_on.wait(30)
        return self._encoder.to_pixels(image)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)


def small_png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(stream, "PNG")
    return stream.getvalue()


async def wait_for(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 30)


def test_a_request_whose_client_has_gone_decodes_no_further_image(served_store: EmbeddingStore) -> None:
    async def hang_up() -> int:
        counted: Any = CountedEncoder(served_store)
        encoder = LocalEncoder(lambda: counted, Settings()).share()
        request = asyncio.create_task(encoder.images([small_png()] * 32))
        await wait_for(counted.entered)
        request.cancel()
        await asyncio.sleep(0.05)
        assert not request.done(), "the images that are being decoded use what the request has taken"
        counted.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await request
        await encoder.close()  # ends the threads, after what they have to do
        return int(counted.scaled)

    assert asyncio.run(hang_up()) <= 2, "one for each thread"


def test_a_broken_image_stops_the_decoding_of_those_beside_it(served_store: EmbeddingStore) -> None:
    async def send() -> int:
        counted: Any = CountedEncoder(served_store)
        counted.may_go_on.set()
        encoder = LocalEncoder(lambda: counted, Settings()).share()
        with pytest.raises(BadInput, match=r"image 0: cannot be used \(unknown format\)"):
            await encoder.images([b"<svg/>", *[small_png()] * 500])
        await encoder.close()
        return int(counted.scaled)

    assert asyncio.run(send()) < 500


def test_a_progressive_jpeg_of_a_thousand_scans_is_refused(client: httpx.Client) -> None:
    answer = client.post("/search/image?k=1", content=jpeg_of_scans(1_000))
    assert (answer.status_code, answer.json()["error"]) == (400, "image 0: cannot be used (too many scans)")
