"""The service on an open network: a test for each promise."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import io
import logging
import shutil
import socket
import struct
import threading
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from retrieval.service.backend import Unavailable
from retrieval.service.fetch_url import fetch_image, public_addresses
from retrieval.service.memory import run_in_halves
from retrieval.service.settings import Settings
from tests.retrieval.stores import forget
from tests.serving import Serve

TEXT = {"queries": [{"text": "a red circle"}], "k": 2}


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def test_tokens_are_asked_for_where_there_are_some(served_store: EmbeddingStore, serve: Serve) -> None:
    with serve(served_store, Settings(tokens=("secret", "other"))) as url, httpx.Client(base_url=url) as client:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            answer = client.post("/search", json=TEXT, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        for path in ("/rows/0", "/rows/0/image", "/indexes", "/metrics", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 401, path
        assert client.post("/search", json=TEXT, headers={"Authorization": "Bearer other"}).status_code == 200
        assert [client.get(path).status_code for path in ("/", "/healthz", "/readyz")] == [200] * 3


def test_cors_is_off_unless_asked(served_store: EmbeddingStore, serve: Serve, client: httpx.Client) -> None:
    asked = {"Origin": "https://lab.example.org", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client.options("/search", headers=asked).headers
    with serve(served_store, Settings(cors_origins=("https://lab.example.org",))) as url:
        allowed = httpx.options(f"{url}/search", headers=asked).headers
        assert allowed["access-control-allow-origin"] == "https://lab.example.org"
        other = httpx.options(f"{url}/search", headers={**asked, "Origin": "https://evil.example.org"}).headers
        assert "access-control-allow-origin" not in other
    with pytest.raises(BadInput, match="CORS"):
        Settings(cors_origins=("*",))


def test_a_body_is_bounded_announced_or_not(served_store: EmbeddingStore, serve: Serve) -> None:
    with serve(served_store, Settings(max_body_bytes=1_000)) as url, httpx.Client(base_url=url) as client:
        assert client.post("/search", content=b"x" * 1_001).status_code == 413
        pieces = (b"x" * 400 for _ in range(10))  # chunked: no length is announced
        answer = client.post("/search/image", content=pieces)
        assert answer.status_code == 413
        assert "1000 bytes" in answer.json()["error"]
        assert client.post("/search", json=TEXT).status_code == 200


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
    Image.effect_noise((8_000, 8_000), 60).save(stream, "JPEG", quality=40)  # half a second or more to decode
    answers: list[httpx.Response] = []
    slow = threading.Thread(target=lambda: answers.append(client.post("/search/image?k=1", content=stream.getvalue())))
    slow.start()
    beside = 0
    while slow.is_alive():
        assert client.get("/healthz").status_code == 200
        beside += slow.is_alive()
    assert answers[0].status_code == 200
    assert beside > 2


class TestUrls:
    def test_none_is_fetched_unless_the_operator_allows_it(self, client: httpx.Client) -> None:
        answer = client.post("/search", json={"queries": [{"image_url": "http://example.org/a.jpg"}], "k": 1})
        assert answer.status_code == 400
        assert "fetches no URLs" in answer.json()["error"]

    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
         "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "::"],
    )  # fmt: skip
    def test_private_addresses_are_refused(self, address: str) -> None:
        with pytest.raises(BadInput, match="not public"):
            public_addresses([address])

    def test_one_private_answer_among_public_ones_is_refused(self) -> None:
        assert public_addresses(["93.184.216.34"]) == ["93.184.216.34"]
        with pytest.raises(BadInput, match="not public"):
            public_addresses(["93.184.216.34", "127.0.0.1"])

    @pytest.mark.parametrize(
        "url",
        ["file:///etc/passwd", "ftp://example.org/x", "http://user@example.org/", "http://example.org:22/", "http://",
         "http://localhost/", "http://127.0.0.1/", "http://[::1]/", "http://2130706433/", "http://0x7f.1/"],
    )  # fmt: skip
    def test_other_schemes_ports_and_hosts_are_refused(self, url: str) -> None:
        with pytest.raises(BadInput):
            asyncio.run(fetch_image(url, 1_000))

    def test_a_redirect_to_a_private_address_is_not_followed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first host is let through, as a public one would be; what it redirects to is checked like any other."""
        from retrieval.service import fetch_url as web

        reached: list[str] = []

        def server() -> tuple[socket.socket, int]:
            listener = socket.create_server(("127.0.0.1", 0))
            return listener, listener.getsockname()[1]

        first, port = server()

        def answer() -> None:
            with contextlib.suppress(OSError):
                connection, _ = first.accept()
                reached.append("first")
                connection.recv(4_096)
                connection.sendall(
                    b"HTTP/1.1 302 Found\r\nLocation: http://localhost:80/secret\r\nContent-Length: 0\r\n\r\n"
                )
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        known = web.public_addresses
        monkeypatch.setattr(web, "PORTS", (port, 80))

        def first_is_public(addresses: object) -> list[str]:
            return ["127.0.0.1"] if not reached else known(list(addresses))  # type: ignore[call-overload]

        monkeypatch.setattr(web, "public_addresses", first_is_public)
        with pytest.raises(BadInput, match="not public"):
            asyncio.run(fetch_image(f"http://127.0.0.1:{port}/", 1_000))
        thread.join()
        first.close()
        assert reached == ["first"]


@pytest.mark.parametrize(
    "path",
    ["/rows/../manifest.json", "/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/rows/0/image/../../x",
     "/rows/-1", "/rows/99", "/rows/1e3", "/rows/9999999999999999999999"],
)  # fmt: skip
def test_no_path_leads_out_of_what_is_served(client: httpx.Client, path: str) -> None:
    host, port = address_of(str(client.base_url))
    connection = http.client.HTTPConnection(host, port, timeout=10)  # sends the path as it is
    connection.request("GET", path)
    assert connection.getresponse().status in (404, 422)
    connection.close()


def test_a_shard_name_out_of_the_corpus_is_not_read(served_store: EmbeddingStore, tmp_path: Path, serve: Serve) -> None:
    from tests.retrieval.stores import make_store, random_unit

    (tmp_path / "secret.tar").write_bytes(b"secret" * 100)
    store = make_store(tmp_path / "s", random_unit(4), shard=["../../secret.tar"] * 4)
    with serve(store) as url:
        answer = httpx.get(f"{url}/rows/0/image")
    assert answer.status_code in (404, 503, 400)
    assert b"secretsecret" not in answer.content


def test_forgotten_rows_are_gone_at_once(served_store: EmbeddingStore, tmp_path: Path, serve: Serve) -> None:
    folder = tmp_path / "store"
    shutil.copytree(served_store.path, folder)
    with serve(folder) as url, httpx.Client(base_url=url) as client:
        first = client.post("/search", json={**TEXT, "k": 1}).json()["results"][0]["rows"][0]["row_id"]
        assert client.get(f"/rows/{first}/image").status_code == 200
        forget(EmbeddingStore.open(folder), [first])
        again = client.post("/search", json={**TEXT, "k": 20}).json()["results"][0]["rows"]
        assert first not in [row["row_id"] for row in again]
        assert [client.get(f"/rows/{first}{end}").status_code for end in ("", "/image", "/image?side=64")] == [404] * 3
        assert client.post("/search", json={"queries": [{"row_id": first}]}).status_code == 404


def test_captions_are_data(tmp_path: Path, serve: Serve) -> None:
    from tests.retrieval.stores import make_store, random_unit

    nasty = "</script><script>alert(1)</script>\u2028=HYPERLINK(1)"
    store = make_store(tmp_path, random_unit(2), caption=[nasty] * 2)
    with serve(store) as url:
        answer = httpx.get(f"{url}/rows/0")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["caption"] == nasty


def test_an_original_image_cannot_run_in_a_browser(client: httpx.Client) -> None:
    headers = client.get("/rows/0/image").headers
    assert "sandbox" in headers["content-security-policy"]
    assert headers["content-type"] == "image/jpeg"


class TestFaults:
    def test_a_slow_client_is_told_and_others_are_served(self, served_store: EmbeddingStore, serve: Serve) -> None:
        settings = Settings(body_seconds=0.5)
        with serve(served_store, settings) as url, socket.create_connection(address_of(url)) as slow:
            slow.sendall(b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
            assert httpx.post(f"{url}/search", json=TEXT).status_code == 200
            slow.settimeout(10)
            assert slow.recv(4_096).startswith(b"HTTP/1.1 408")

    def test_half_closed_connections_do_no_harm(self, client: httpx.Client) -> None:
        for _ in range(30):
            connection = socket.create_connection(address_of(str(client.base_url)))
            connection.sendall(b'POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{"queries"')
            connection.shutdown(socket.SHUT_WR)
            connection.close()
        assert client.post("/search", json=TEXT).status_code == 200

    def test_a_corpus_shard_that_vanishes_is_an_honest_answer(
        self, served_store: EmbeddingStore, tmp_path: Path, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        from tests.retrieval.stores import make_store, random_unit

        store = make_store(tmp_path, random_unit(4))
        with serve(store) as url, caplog.at_level(logging.ERROR), httpx.Client(base_url=url) as client:
            assert client.get("/rows/0/image").status_code == 200
            (tmp_path / "corpus" / "00000.tar").unlink()
            answer = client.get("/rows/1/image")
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
            assert str(tmp_path) not in answer.text  # the log says where, the answer doesn't
            assert client.get("/healthz").status_code == 200
        assert "00000.tar" in caplog.text

    def test_a_metadata_file_that_vanishes_is_an_honest_answer(self, tmp_path: Path, serve: Serve) -> None:
        from tests.retrieval.stores import make_store, random_unit

        store = make_store(tmp_path, random_unit(4))
        store.path.joinpath("metadata/metadata_0001.parquet").unlink()
        with serve(EmbeddingStore(store.path, store.manifest)) as url, httpx.Client(base_url=url) as client:
            assert client.get("/rows/0").status_code == 200
            assert client.get("/rows/3").status_code == 503
            assert client.get("/healthz").status_code == 200

    def test_memory_that_runs_out_halves_the_batch_and_then_refuses(
        self, served_store: EmbeddingStore, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The error is the one that torch raises for an allocation that cannot be had."""
        import torch

        calls: list[int] = []

        def encode(items: list[int]) -> list[int]:
            calls.append(len(items))
            if len(items) > 2 or 7 in items:
                torch.empty(1 << 60)
            return items

        join = lambda parts: [item for part in parts for item in part]  # noqa: E731
        with caplog.at_level(logging.WARNING):
            assert run_in_halves(encode, [1, 2, 3, 4, 5], join) == [1, 2, 3, 4, 5]
        assert calls[0] == 5
        assert max(calls[1:]) <= 3
        assert "ran out of memory" in caplog.text
        with pytest.raises(Unavailable, match="memory"):
            run_in_halves(encode, [7], join)

    def test_a_full_queue_is_429_and_what_was_taken_is_answered(
        self, served_store: EmbeddingStore, serve: Serve
    ) -> None:
        body = {"queries": [{"text": f"thing {number} " * 8} for number in range(200)], "k": 1}
        statuses: list[int] = []
        with serve(served_store, Settings(queue=200)) as url:

            def ask() -> None:
                answer = httpx.post(f"{url}/search", json=body, timeout=60)
                statuses.append(answer.status_code)
                assert answer.status_code == 200 or int(answer.headers["Retry-After"]) >= 1

            threads = [threading.Thread(target=ask) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert set(statuses) == {200, 429}
        assert len(statuses) == 16

    def test_a_graceful_stop_finishes_what_is_running(self, served_store: EmbeddingStore, serve: Serve) -> None:
        body = {"queries": [{"text": f"thing {number}"} for number in range(512)], "k": 30}
        answers: list[httpx.Response] = []
        with serve(served_store) as url:
            thread = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/search", json=body, timeout=30)))
            thread.start()
            time.sleep(0.15)  # it is in the queue; leaving the block stops the server
        thread.join()
        assert [answer.status_code for answer in answers] == [200]
        assert len(answers[0].json()["results"]) == 512
