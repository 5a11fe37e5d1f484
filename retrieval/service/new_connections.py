"""New connections are taken in turns of the addresses that they come from.

The system keeps connections that nobody has accepted yet in one line, and uvicorn accepts them in its order: behind an
address that opens a thousand a second, everybody waits a second for the event loop to come round to them. Here they are
accepted at once, which costs some microseconds, and wait in a line of their address:

    Server(server_config(app, graceful_seconds)).run(sockets=[listener])

A few connections of each line in turn get a transport and a protocol, then the event loop does what else waits. One
whose client has hung up meanwhile is closed, and so are those that exceed a line.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from retrieval.service.security import network_of
from retrieval.service.turns import Turns

__all__ = ["MOST_NEW", "NewConnections", "Server", "most_new"]

MOST_NEW = 1_024  # connections that wait for their turn, where enough files may be open
AT_ONCE = 2  # that get their turn before the event loop does what else waits
ACCEPTED_AT_ONCE = 64
PAUSE_SECONDS = 0.1  # before it accepts again, after the system had no file or no memory for one more
_NO_ROOM = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_CLOSE_WAIT = 8  # the state of a connection whose other side has been closed (Linux, include/net/tcp_states.h)

_log = logging.getLogger(__name__)


def most_new() -> int:
    """How many connections may wait for their turn: at most an eighth of the files that may be open."""
    try:
        import resource
    except ImportError:  # not a Unix: there is no such limit
        return MOST_NEW
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST_NEW if files == resource.RLIM_INFINITY else min(MOST_NEW, files // 8)


class Server(uvicorn.Server):
    """uvicorn's server, which takes new connections in turns. Its configuration is of `server_config`."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve on the sockets, or on the configuration's port."""
        if sys.platform == "win32":  # whose event loop can't tell when a socket may be read
            await super().startup(sockets)
            return
        await super().startup(sockets=[])
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            of: Any = self.config.http_protocol_class
            connection: asyncio.Protocol = of(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )
            return connection

        registry = getattr(self.config.http_protocol_class, "registry", None)
        refused = (lambda _: None) if registry is None else registry.refused
        listeners = sockets if sockets is not None else [self.config.bind_socket()]
        most = most_new()
        made = [NewConnections(one, protocol, refused, self.config.backlog, most) for one in listeners]
        self.servers = made  # type: ignore[assignment]


class NewConnections:
    """Accepts connections of a listening socket and gives each its turn. It is closed as an `asyncio.Server` is.

    protocol: makes the protocol of a connection. refused: called with the name of a bound for each one that is closed.
    backlog: connections that the system keeps until they are accepted. most: connections that wait for their turn.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        refused: Callable[[str], None],
        backlog: int,
        most: int = MOST_NEW,
    ) -> None:
        self._most = most
        self.sockets = (listener,)
        self._protocol, self._refused = protocol, refused
        self._loop = asyncio.get_running_loop()
        self._waiting: Turns[socket.socket] = Turns()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._turn: asyncio.Handle | None = None
        self._pause: asyncio.Handle | None = None
        self._full = False  # so that it does not accept
        listener.setblocking(False)
        listener.listen(backlog)
        self._loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more. Those that wait are closed."""
        listener = self.sockets[0]
        if listener.fileno() >= 0:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        for handle in (self._turn, self._pause):
            if handle is not None:
                handle.cancel()
        while len(self._waiting):
            self._waiting.next().close()

    async def wait_closed(self) -> None:
        """There is nothing to wait for."""

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            if len(self._waiting) >= self._most and self._waiting.longest()[1] == 1:
                # No line is longer than another: the system keeps the rest in order until there is room.
                self._loop.remove_reader(self.sockets[0].fileno())
                self._full = True
                break
            try:
                accepted, name = self.sockets[0].accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                break
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                _log.warning("no more connections are accepted for %g s: %s", PAUSE_SECONDS, error.strerror)
                self._loop.remove_reader(self.sockets[0].fileno())
                self._pause = self._loop.call_later(
                    PAUSE_SECONDS, self._loop.add_reader, self.sockets[0].fileno(), self._accept
                )
                break
            self._add(accepted, network_of(str(name[0])) if name else "")
        if self._turn is None and len(self._waiting):
            self._turn = self._loop.call_soon(self._take_turns)

    def _add(self, accepted: socket.socket, address: str) -> None:
        """Put a connection into its line; where too many wait, one of the longest line is closed."""
        accepted.setblocking(False)
        if len(self._waiting) >= self._most:
            self._refused("connections")
            longest, count = self._waiting.longest()
            if count <= self._waiting.count(address):
                accepted.close()
                return
            self._waiting.drop_last(longest).close()
        self._waiting.add(address, accepted)

    def _take_turns(self) -> None:
        taken = 0
        while taken < AT_ONCE and len(self._waiting):
            accepted = self._waiting.next()
            if _has_hung_up(accepted):
                accepted.close()
                continue
            taken += 1
            task = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, accepted))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        if self._full and len(self._waiting) <= self._most // 2:
            self._full = False
            self._loop.add_reader(self.sockets[0].fileno(), self._accept)
        self._turn = self._loop.call_soon(self._take_turns) if len(self._waiting) else None

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            _log.debug("a connection was closed before it began: %s", error)


def _has_hung_up(accepted: socket.socket) -> bool:
    """Whether the other side has closed the connection, or its direction of it. False where it cannot be told."""
    try:
        if sys.platform == "linux" and accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSE_WAIT:
            return True
        return not accepted.recv(1, socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return False
    except OSError:
        return True
