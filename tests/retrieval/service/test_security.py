"""The service on an open network: tokens, bodies and connections."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from index.encoder.loading import load_encoder
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import store_model
from retrieval.service.app import create_app
from retrieval.service.local_backend import LocalBackend
from retrieval.service.security import client_of
from retrieval.service.settings import Settings
from tests.serving import Serve, run_app

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


def test_a_body_is_bounded_announced_or_not(served_store: EmbeddingStore, serve: Serve) -> None:
    with serve(served_store, Settings(max_body_bytes=1_000)) as url, httpx.Client(base_url=url) as client:
        assert client.post("/search", content=b"x" * 1_001).status_code == 413
        pieces = (b"x" * 400 for _ in range(10))  # chunked: no length is announced
        answer = client.post("/search/image", content=pieces)
        assert answer.status_code == 413
        assert "1000 bytes" in answer.json()["error"]
        assert client.post("/search", json=TEXT).status_code == 200


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


def test_a_slow_client_is_told_and_others_are_served(served_store: EmbeddingStore, serve: Serve) -> None:
    settings = Settings(body_seconds=0.5)
    with serve(served_store, settings) as url, socket.create_connection(address_of(url)) as slow:
        slow.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{")
        assert httpx.post(f"{url}/search", json=TEXT).status_code == 200
        slow.settimeout(10)
        assert slow.recv(4_096).startswith(b"HTTP/1.1 408")


def test_half_closed_connections_do_no_harm(client: httpx.Client) -> None:
    for _ in range(30):
        connection = socket.create_connection(address_of(str(client.base_url)))
        connection.sendall(b'POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{"queries"')
        connection.shutdown(socket.SHUT_WR)
        connection.close()
    assert client.post("/search", json=TEXT).status_code == 200


def test_bodies_that_together_take_too_much_memory_are_asked_to_come_back(
    served_store: EmbeddingStore, serve: Serve
) -> None:
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
    with (
        serve(served_store, Settings(body_bytes=100_000, client_share=1)) as url,
        socket.create_connection(address_of(url)) as held,
    ):
        held.sendall(head + b" " * 80_000)
        for _ in range(500):  # until the service has read it
            answer = httpx.post(f"{url}/search", content=b" " * 50_000)
            if answer.status_code == 429:
                break
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        assert "memory for its body" in answer.json()["error"]
        assert httpx.post(f"{url}/search", json=TEXT).status_code == 200
        held.close()
        for _ in range(500):
            answer = httpx.post(f"{url}/search", content=b" " * 50_000)
            if answer.status_code == 422:
                break
        assert answer.status_code == 422, "the memory is free again"


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("127.0.0.1:8000", True),
        ("localhost", True),
        ("LocalHost.:80", True),
        ("[::1]:8000", True),
        (socket.gethostname(), True),
        ("search.lab.example", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
    ],
)
def test_a_service_answers_to_its_own_names(
    served_store: EmbeddingStore, serve: Serve, host: str, served: bool
) -> None:
    with serve(served_store, Settings(hosts=("search.lab.example",))) as url:
        answer = httpx.get(f"{url}/healthz", headers={"Host": host})
        assert answer.status_code == (200 if served else 400)
        if not served:
            assert f"Host {host!r}: this service is not called so" in answer.json()["error"]
        # No redirect either, which would go to whatever host was asked.
        assert httpx.get(f"{url}/page/main.js/", headers={"Host": host}).status_code == (404 if served else 400)


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("::ffff:10.0.0.7", "10.0.0.7"),
    ],
)
def test_a_client_is_an_address_or_the_network_that_one_customer_has(address: str, client: str) -> None:
    assert client_of({"client": (address, 1)}) == client


def test_requests_of_one_client_leave_room_for_another(served_store: EmbeddingStore, serve: Serve) -> None:
    settings = Settings(tokens=("one", "other"), requests=4, client_share=0.5, body_seconds=20)
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer one\r\nContent-Length: 500\r\n\r\n"
    with serve(served_store, settings) as url, ExitStack() as held:
        for _ in range(2):
            held.enter_context(socket.create_connection(address_of(url))).sendall(head)
        refused = until_refused(url, "one")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert "too many requests wait for their turn" in refused.json()["error"]
        assert httpx.post(f"{url}/search", json=TEXT, headers={"Authorization": "Bearer other"}).status_code == 200
        held.close()
        for _ in range(200):
            answer = httpx.post(f"{url}/search", json=TEXT, headers={"Authorization": "Bearer one"})
            if answer.status_code == 200:
                break
        assert answer.status_code == 200


def test_strangers_who_read_nothing_take_no_place_of_a_request(served_store: EmbeddingStore, serve: Serve) -> None:
    ask = b"GET /page/page.css HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serve(served_store, Settings(tokens=("one",), requests=1, client_share=1)) as url, socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
        stranger.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # else the system keeps megabytes for it
        stranger.connect(address_of(url))
        for _ in range(4):
            stranger.sendall(ask * 10)
            time.sleep(0.1)
        assert httpx.get(f"{url}/healthz").status_code == 200
        answer = httpx.post(f"{url}/search", json=TEXT, headers={"Authorization": "Bearer one"}, timeout=30)
        assert answer.status_code == 200


def until_refused(url: str, token: str) -> httpx.Response:
    for _ in range(200):
        answer = httpx.post(f"{url}/search", json=TEXT, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        if answer.status_code != 200:
            break
    return answer


def test_hanging_up_ends_the_work(served_store: EmbeddingStore) -> None:
    begun, may_end, encoded = threading.Event(), threading.Event(), list[int]()

    class Slow:
        """The store's model; its first call waits until it may end."""

        def __init__(self) -> None:
            self._encoder = load_encoder(store_model(served_store.path))

        def encode_queries(self, texts: list[str], **options: Any) -> Any:
            if texts[0].startswith("hung up"):
                begun.set()
                assert may_end.wait(30)
                encoded.append(len(texts))
            return self._encoder.encode_queries(texts, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._encoder, name)

    slow: Any = Slow()
    body = json.dumps({"queries": [{"text": f"hung up {number}"} for number in range(512)], "k": 1}).encode()
    head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    app = create_app(LocalBackend(served_store, slow, Settings()))
    with run_app(app) as url:
        gone = socket.create_connection(address_of(url))
        gone.sendall(head + body)
        assert begun.wait(30)
        gone.close()
        admission = app.state.stores.shared.admission
        end = time.monotonic() + 20
        while admission.queries.taken and time.monotonic() < end:
            time.sleep(0.02)
        may_end.set()
        assert admission.queries.taken == admission.requests.taken == admission.bodies.taken == 0
        assert httpx.post(f"{url}/search", json=TEXT).status_code == 200
    assert sum(encoded) <= 128, "what had not begun was dropped"
