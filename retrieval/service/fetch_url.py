"""Fetch the image that a query's `image_url` names, where the operator allows it: from public addresses only.

Host names are resolved here, every address is checked, and the connection goes to the address that was checked, so that
neither a redirect nor a second DNS answer leads into the private network. Proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore

from index.errors import BadInput

__all__ = ["fetch_image", "public_addresses"]

MOST_REDIRECTS = 3
SECONDS = 10.0
PORTS = (80, 443)


async def fetch_image(url: str, max_bytes: int) -> bytes:
    """The bytes at an http(s) URL.

    Raises BadInput for another scheme or port, a private address, more than `max_bytes`, or no such file.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _follow(url, max_bytes)
    except TimeoutError as error:
        raise BadInput(f"image_url: no answer within {SECONDS:g} s") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
        raise BadInput("image_url: could not be fetched") from error


async def _follow(url: str, max_bytes: int) -> bytes:
    async with httpcore.AsyncConnectionPool(network_backend=_PublicOnly()) as pool:
        for _ in range(MOST_REDIRECTS + 1):
            _check(url)
            async with pool.stream("GET", url, headers=_headers(url)) as response:
                if response.status in (301, 302, 303, 307, 308):
                    url = urljoin(url, dict(response.headers).get(b"location", b"").decode("latin-1"))
                    continue
                if response.status != 200:
                    raise BadInput(f"image_url: the server answered {response.status}")
                data = bytearray()
                async for chunk in response.aiter_stream():
                    data += chunk
                    if len(data) > max_bytes:
                        raise BadInput(f"image_url: more than {max_bytes} bytes")
                return bytes(data)
    raise BadInput(f"image_url: more than {MOST_REDIRECTS} redirects")


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadInput("image_url: is no URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput("image_url: only http and https URLs are fetched")
    if parts.username is not None or (port is not None and port not in PORTS):
        raise BadInput(f"image_url: no user names, and no ports but {' and '.join(map(str, PORTS))}")


def _headers(url: str) -> list[tuple[bytes, bytes]]:
    return [(b"Host", urlsplit(url).netloc.encode("idna")), (b"User-Agent", b"clipmine"), (b"Accept", b"image/*")]


def public_addresses(addresses: Iterable[str]) -> list[str]:
    """The addresses, when all of them are public; BadInput otherwise: one private address among public ones may be an
    attack."""
    found = list(addresses)
    for text in found:
        address = ipaddress.ip_address(text)
        if isinstance(address, ipaddress.IPv6Address):
            # An IPv6 address that stands for an IPv4 address (mapped, 6to4, NAT64) is judged by the IPv4 address.
            inner = address.ipv4_mapped or address.sixtofour or _nat64(address)
            address = inner if inner is not None else address
        if not address.is_global or address.is_multicast:
            raise BadInput("image_url: leads to an address that is not public")
    if not found:
        raise BadInput("image_url: its host has no address")
    return found


def _nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    prefix = ipaddress.ip_network("64:ff9b::/96")
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in prefix else None


class _PublicOnly(httpcore.AsyncNetworkBackend):
    """Connects to the address that was checked; TLS still verifies the host's name."""

    def __init__(self) -> None:
        from httpcore._backends.auto import AutoBackend

        self._inner = AutoBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = public_addresses(dict.fromkeys(str(entry[4][0]) for entry in found))
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        raise BadInput("image_url: sockets are not fetched")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
