from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

import httpx
import pytest

from index.errors import BadInput
from retrieval.service.fetch_url import fetch_image, public_addresses


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
