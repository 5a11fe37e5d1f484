"""HTTP connections with bounds: the bytes and the time of a head, idle ones, answers that nobody reads.

uvicorn's protocol bounds none of these (its own limit of a head is of another parser, which takes three times as long),
so this adds them to it:

    uvicorn.Config(app, http=bounded_http(settings, most, metrics.refuse), ws="none")

A client that closes its connection, or its own side of it, has hung up: the work on its request is cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from itertools import chain
from typing import Any, ClassVar

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from retrieval.service.settings import Settings

__all__ = ["CONNECTION", "Connections", "bounded_http"]

CONNECTION = "clipmine.connection"  # in the ASGI scope: the `_Connection` of a request
MOST_WAITING = 16  # requests that a client sends before it has read the answers of the first
PIECE = 16 << 10  # bytes that the parser gets at once, so that a head's length is known while it comes
MOST_PIECES, LEAST_PIECE = 1_000, 32  # pieces of a body, beyond which they have so many bytes on average
MOST_LEFTOVER = 1 << 20  # bytes of a body that may still come after its answer
LOOK_SECONDS = 1.0  # between two looks whose time is up


class Connections:
    """The open connections of a service, each dict with the time since when.

    waiting: for a request, of which no byte has come. heads: of which a part of the head has come. leftovers: whose
    last request was answered before its body had come. stalled: whose client does not read. closing: whose last bytes
    are being sent.
    """

    def __init__(self, settings: Settings, most: int, refused: Callable[[str], None]) -> None:
        self.settings, self.most, self.refused = settings, most, refused
        self.open: set[_Connection] = set()
        self.waiting: dict[_Connection, float] = {}
        self.heads: dict[_Connection, float] = {}
        self.leftovers: dict[_Connection, float] = {}
        self.stalled: dict[_Connection, float] = {}
        self.closing: dict[_Connection, float] = {}
        self._addresses: Counter[str] = Counter()  # open connections of each
        self._looking: asyncio.TimerHandle | None = None

    def add(self, connection: _Connection) -> bool:
        """Count a connection; where there are too many, an idle one is closed for it: the one that has
        waited longest of the address that has most.

        False where all others are at work, so that the new one is to be closed.
        """
        if len(self.open) >= self.most:
            self.refused("connections")
            idle = self._longest_idle()
            if idle is None:
                return False
            idle.abort()
        self.open.add(connection)
        self._addresses[connection.address] += 1
        self.waiting[connection] = time.monotonic()
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
        return True

    def remove(self, connection: _Connection) -> None:
        """It has been closed."""
        if connection in self.open:
            self.open.discard(connection)
            self._addresses[connection.address] -= 1
            if not self._addresses[connection.address]:
                del self._addresses[connection.address]
        for some in (self.waiting, self.heads, self.leftovers, self.stalled, self.closing):
            some.pop(connection, None)

    def _longest_idle(self) -> _Connection | None:
        """Of the address that has most connections, the one that has been idle for longest; else the one of all."""
        busiest = max(self._addresses, key=self._addresses.__getitem__)
        kinds = self.waiting, self.heads, self.leftovers
        of_busiest = (one for one in chain(*kinds) if one.address == busiest)
        return next(of_busiest, None) or next(chain(*kinds), None)

    def _look(self) -> None:
        now, settings = time.monotonic(), self.settings
        for connection in _since(self.waiting, now - settings.idle_seconds):
            connection.close()
        for connection in _since(self.heads, now - settings.head_seconds):
            connection.refuse(408, "head_seconds", f"the head did not come within {settings.head_seconds:g} s")
        for connection in _since(self.leftovers, now - settings.head_seconds):
            connection.close()
        for connection in _since(self.stalled, now - settings.answer_seconds):
            self.refused("answer_seconds")
            connection.abort()
        for connection in [one for one in self.open if one.transport.is_closing()]:
            self.closing.setdefault(connection, now)
        for connection in _since(self.closing, now - settings.answer_seconds):
            connection.abort()
        self._looking = None
        if self.open:
            self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)


def _since(some: dict[_Connection, float], limit: float) -> list[_Connection]:
    """Those that are in a dict since before `limit`; the oldest come first in it."""
    found = []
    for connection, began in some.items():
        if began > limit:
            break
        found.append(connection)
    return found


class _Connection(HttpToolsProtocol):
    """One connection. task: what answers the running request, set by `retrieval.service.security`."""

    registry: ClassVar[Connections]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.task: asyncio.Task[Any] | None = None
        self._running: RequestResponseCycle | None = None  # `cycle` is of the request that came last
        self._deaf = False  # what still comes is not read
        self._in_head = True  # or before it
        self._unread = 0  # bytes of a head that is not whole, or of a body's framing
        self._pieces = self._body_bytes = 0  # of the body that is coming
        self._leftover = 0  # bytes of it that came after the answer

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.registry.add(self):
            self._deaf = True
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.registry.remove(self)
        self._deaf = True
        self.pipeline.clear()
        super().connection_lost(exc)
        if self._running is not None:
            self._running.disconnected = True  # else its answer would be written, which is an error in the log
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self.registry.waiting.pop(self, None)
        for start in range(0, len(data), PIECE):
            if self._deaf:
                return
            self._read(data if len(data) <= PIECE else data[start : start + PIECE])
        if self._in_head and self._unread and not self._deaf:
            self.registry.heads.setdefault(self, time.monotonic())
        else:
            self.registry.heads.pop(self, None)

    def _read(self, piece: bytes) -> None:
        self._unread += len(piece)
        if self in self.registry.leftovers:
            self._leftover += len(piece)
            if self._leftover > MOST_LEFTOVER:
                self.close()
                return
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:  # to a protocol that is not spoken here: answered as if it were not asked
            self._answer_and_close()
        except httptools.HttpParserError as error:  # also what the methods below raise, as its context
            if isinstance(error.__context__, _TooManyWait):
                self.registry.refused("pipelined")
                self._answer_and_close()
            elif isinstance(error.__context__, _TooSmallPieces):
                self.refuse(400, "no_http", f"the body comes in pieces of fewer than {LEAST_PIECE} bytes")
            else:
                self.refuse(400, "no_http", "this is no HTTP request")
        else:
            most = self.registry.settings.max_head_bytes
            if self._unread > most and self._in_head:
                self.refuse(431, "max_head_bytes", f"the head has more than {most} bytes")
            elif self._unread > most + PIECE:
                self.refuse(400, "no_http", f"more than {most} bytes between two pieces of the body")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # What the parser calls
    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_WAITING:
            raise _TooManyWait
        super().on_message_begin()
        scope: Any = self.scope
        scope[CONNECTION] = self

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._unread, self._pieces, self._body_bytes = False, 0, 0, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        self._pieces += 1
        self._body_bytes += len(body)
        if self._pieces > MOST_PIECES and self._body_bytes < LEAST_PIECE * self._pieces:
            raise _TooSmallPieces
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head, self._unread = True, 0
        super().on_message_complete()
        if self.registry.leftovers.pop(self, None) is not None:
            self.registry.waiting[self] = time.monotonic()

    def on_response_complete(self) -> None:
        waits = not self.pipeline and not self.transport.is_closing()
        super().on_response_complete()
        if waits and self.cycle.more_body:
            # The rest of the body is thrown away. Closing at once could cost the client the answer, as the system
            # forgets what it has sent when something comes after that.
            self._leftover = 0
            self.registry.leftovers[self] = time.monotonic()
        elif waits:
            self.registry.waiting[self] = time.monotonic()

    # What the transport calls
    def pause_writing(self) -> None:
        self.registry.stalled.setdefault(self, time.monotonic())
        super().pause_writing()

    def resume_writing(self) -> None:
        self.registry.stalled.pop(self, None)
        super().resume_writing()

    @property
    def address(self) -> str:
        """Where the client is."""
        return self.client[0] if self.client else ""

    # Ends
    def close(self) -> None:
        """Close after what has been written is sent."""
        self._deaf = True
        self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._deaf = True
        self.registry.remove(self)
        self.transport.abort()

    def refuse(self, status: int, bound: str, error: str) -> None:
        """Read no more. What came before is answered; else this is."""
        self.registry.refused(bound)
        running = self.cycle is not None and not self.cycle.response_complete
        if running and not self.cycle.more_body:  # the fault is in what follows the request that is being answered
            self._answer_and_close()
            return
        if not (running and (self.cycle.response_started or self.pipeline)):
            body = orjson.dumps({"error": error})
            head = (
                b"HTTP/1.1 %d %s\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            )
            self.transport.write(head % (status, HTTPStatus(status).phrase.encode(), len(body)) + body)
        self.close()

    def _answer_and_close(self) -> None:
        self._deaf = True
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False


class _TooSmallPieces(Exception):
    """A chunked body comes in so many small pieces that reading it would take far longer than its bytes are worth."""


class _TooManyWait(Exception):
    """A client has sent more requests than it may before it has read their answers."""


def bounded_http(settings: Settings, most: int, refused: Callable[[str], None]) -> type[asyncio.Protocol]:
    """The protocol for uvicorn's `http`. most: open connections; refused: called with the name of a bound."""
    return type("BoundedConnection", (_Connection,), {"registry": Connections(settings, most, refused)})
