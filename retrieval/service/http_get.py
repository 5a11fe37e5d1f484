"""One GET request over a connection of its own, to an IP address that the caller has checked.

The connection is closed at the end in every case, also when the request is cancelled. Nothing limits the time here:
callers use `asyncio.timeout`. Proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import h11

from index.errors import BadInput
from retrieval.service.limits import OverLimit
from retrieval.service.web_url import WebUrl

__all__ = ["Allowance", "Answer", "certificates", "get"]

# A head is a few kilobytes at most; servers and browsers commonly stop at 8 to 256 KiB.
HEAD_BYTES = 32 << 10
READ_BYTES = 16 << 10
# Parts of a body beyond the first ones have at least this many bytes on average: each takes some 50 us here, a server
# sends thousands of tiny chunks in that time. TCP segments have 536 or more (RFC 9293, section 3.7.1).
FIRST_PARTS, PART_BYTES = 256, 512
# Addresses of a host that are tried, and seconds until the next one is.
MOST_TRIED, CONNECT_SECONDS = 4, 3.0


@dataclass(frozen=True)
class Answer:
    """A server's answer. location: of a redirect. body: empty unless the status is 200."""

    status: int
    location: bytes | None
    body: bytes


@functools.cache
def certificates() -> ssl.SSLContext:
    """The certificates that this machine trusts; reading them takes longer than most answers."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Allowance:
    """Bytes that may still be fetched. image: of one image at most. request: of all images of a request together.

    hold: called with each number of bytes that are kept in memory; it may refuse them.
    """

    def __init__(self, image: int, request: int, hold: Callable[[int], None] = lambda _: None) -> None:
        self._image, self._request, self._left, self._hold = image, request, request, hold

    def check(self, length: int, before: int = 0) -> None:
        """Raise OverLimit where so many bytes of an image, after `before` others of it, are too much."""
        if before + length > self._image:
            raise self._too_large()
        if length > self._left:
            raise self._too_many()

    def take(self, count: int, before: int) -> None:
        """Count bytes of an image that have come, after `before` others. Raises OverLimit and what `hold` raises."""
        self.check(count, before)
        self._hold(count)
        self._left -= count

    def _too_large(self) -> OverLimit:
        return OverLimit("max_image_bytes", f"image_url: the image has more than {self._image:,} bytes")

    def _too_many(self) -> OverLimit:
        message = f"image_url: the images have more than {self._request:,} bytes together; send several requests"
        return OverLimit("max_fetch_bytes", message)


async def get(url: WebUrl, addresses: Sequence[str], tls: ssl.SSLContext | None, allowance: Allowance) -> Answer:
    """Send the request to the first of `addresses` that accepts the connection, and read the answer.

    tls: for https. Raises OSError or h11.ProtocolError for a connection that fails or an answer that is not HTTP,
    OverLimit beyond the allowance, BadInput for an answer that is compressed or mostly padding.
    """
    reader, writer = await _connect(url, addresses, tls)
    try:
        return await _exchange(url, reader, writer, allowance)
    finally:
        writer.transport.abort()  # waits for nothing, so that it also works while the task is being cancelled


async def _connect(
    url: WebUrl, addresses: Sequence[str], tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    failed: OSError = OSError("no address")
    tried = addresses[:MOST_TRIED]
    for place, address in enumerate(tried, 1):
        try:
            async with asyncio.timeout(CONNECT_SECONDS if place < len(tried) else None):
                return await asyncio.open_connection(
                    address,
                    url.port,
                    limit=READ_BYTES,
                    flags=socket.AI_NUMERICHOST,
                    ssl=tls,
                    server_hostname=url.server_name if tls is not None else None,
                )
        except OSError as error:  # TimeoutError and ssl.SSLError are OSErrors
            failed = error
    raise failed


async def _exchange(
    url: WebUrl, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowance: Allowance
) -> Answer:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
    headers = [
        ("Host", url.authority),
        ("User-Agent", "clipmine"),
        ("Accept", "image/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]
    request = connection.send(h11.Request(method="GET", target=url.target, headers=headers))
    writer.write((request or b"") + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    body, read, parts = bytearray(), 0, 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(READ_BYTES)
            read += len(data)
            if read > HEAD_BYTES + READ_BYTES + 2 * len(body):  # heads, or other text around chunks, without end
                raise BadInput("image_url: the answer is mostly padding")
            connection.receive_data(data)
            await asyncio.sleep(0)  # a read from the buffer does not let other requests have their turn
        elif isinstance(event, h11.Response):
            found = dict(event.headers)  # h11 gives the names in lower case
            if event.status_code != 200:
                return Answer(event.status_code, found.get(b"location"), b"")
            encoding = found.get(b"content-encoding", b"identity").strip().lower()
            if encoding not in (b"identity", b""):
                raise BadInput("image_url: the server sends it compressed, without being asked to")
            allowance.check(int(found.get(b"content-length", b"0")))  # h11 has checked that it is a number
        elif isinstance(event, h11.Data):
            allowance.take(len(event.data), len(body))
            body += event.data
            parts += 1
            if parts > FIRST_PARTS + len(body) // PART_BYTES:
                raise BadInput("image_url: the answer comes in too small parts")
        elif isinstance(event, h11.EndOfMessage):
            return Answer(200, None, bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("the connection ended early")
