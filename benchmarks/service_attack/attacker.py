"""What attacks are made of: plain sockets, the time they have, a count of what came back.

Attacks connect from 127.0.0.2, so that a service that counts connections by address tells them from the authorised
client.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass

__all__ = ["ATTACKS", "Attack", "Attacker", "attack"]

FROM = "127.0.0.2"  # Linux answers on all of 127.0.0.0/8
HOST = "127.0.0.1"
CHUNK = 1 << 16

Run = Callable[["Attacker"], Awaitable[None]]


@dataclass(frozen=True)
class Attack:
    """An attack by its name. needs_token: it brings a valid token. fds: file descriptors that the service gets.

    does: what it does, in a sentence; `run` is called once and stops at `Attacker.end` or when it is cancelled.
    """

    name: str
    does: str
    run: Run
    needs_token: bool = False
    fds: int | None = None


ATTACKS: dict[str, Attack] = {}


def attack(*, needs_token: bool = False, fds: int | None = None) -> Callable[[Run], Run]:
    """Registers a coroutine function as an attack of its name, described by its docstring."""

    def register(run: Run) -> Run:
        name = str(getattr(run, "__name__", "attack"))
        does = " ".join(str(run.__doc__).split())
        ATTACKS[name] = Attack(name, does, run, needs_token, fds)
        return run

    return register


class Attacker:
    """What an attack works with: sockets to the service, its time, and a count of what came back.

    scale: 1, or less for a short run; attacks that open many connections or send many bytes multiply by it.
    """

    def __init__(self, port: int, seconds: float, token: str, scale: float = 1.0) -> None:
        self.port, self.seconds, self.token, self.scale = port, seconds, token, scale
        self.got: Counter[str] = Counter()
        self.said: list[str] = []
        self.end = float("inf")
        self.held: list[socket.socket] = []

    def begin(self) -> None:
        """Everything is prepared: the time runs from now."""
        self.end = time.monotonic() + self.seconds
        print("begin", flush=True)

    @property
    def going(self) -> bool:
        """Whether the attack's time is not up."""
        return time.monotonic() < self.end

    async def rest(self) -> None:
        """Hold the connections until the time is up, then look at them."""
        await asyncio.sleep(max(0.0, self.end - time.monotonic()))
        self.look()

    def look(self) -> None:
        """Count what the held connections have got: a status, `closed`, or `still open` where nothing came."""
        for sock in self.held:
            try:
                head = sock.recv(64)
                self.got[head.split(b" ")[1].decode("latin-1") if head.startswith(b"HTTP/") else "closed"] += 1
            except BlockingIOError:
                self.got["still open"] += 1
            except OSError:
                self.got["closed"] += 1

    async def connect(self, receive_buffer: int | None = None) -> socket.socket:
        """A new connection from `FROM`; receive_buffer: bytes that the kernel keeps for a client that does not read."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.bind((FROM, 0))
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, (HOST, self.port)), 10)
        except BaseException:
            sock.close()
            raise
        return sock

    async def hold(self, count: int, first: bytes = b"", receive_buffer: int | None = None) -> None:
        """Open `count` connections, send `first` on each, and keep them open until the attack ends."""
        for number in range(count):
            if not self.going:
                break
            with self.counted():
                sock = await self.connect(receive_buffer)
                self.held.append(sock)
                if first:
                    await self.send(sock, first)
            if number % 200 == 199:
                await asyncio.sleep(0.01)
        self.said.append(f"{len(self.held):,} of {count:,} connections opened")

    async def send(self, sock: socket.socket, data: bytes | memoryview) -> None:
        """Send all the bytes, waiting at most until the attack's end."""
        left = max(0.1, self.end - time.monotonic())
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(sock, data), left)

    async def send_all(self, sock: socket.socket, pieces: Iterable[bytes]) -> None:
        """Send the pieces one after the other until the attack's end."""
        for piece in pieces:
            if not self.going:
                return
            await self.send(sock, piece)

    async def status(self, sock: socket.socket, drain: bool = True) -> str:
        """The status of the next answer, counted; drain: read on until the service closes."""
        loop = asyncio.get_running_loop()
        left = max(0.1, self.end - time.monotonic() + 0.5)
        head = await asyncio.wait_for(loop.sock_recv(sock, CHUNK), left)
        status = head.split(b" ", 2)[1][:3].decode("latin-1") if head.startswith(b"HTTP/") else "no answer"
        self.got[status] += 1
        while drain and head:
            left = max(0.1, self.end - time.monotonic() + 0.5)
            head = await asyncio.wait_for(loop.sock_recv(sock, CHUNK), left)
        return status

    def request(
        self, method: str, path: str, body: bytes | None = None, *, token: bool = True, more: Iterable[str] = ()
    ) -> bytes:
        """A request's bytes. more: further header lines."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}:{self.port}", "Connection: close", *more]
        if token:
            lines.append(f"Authorization: Bearer {self.token}")
        if body is not None:
            lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")

    async def ask(self, data: bytes) -> None:
        """Send a request on a connection of its own and read the whole answer, counted by its status."""
        with self.counted():
            sock = await self.connect()
            try:
                await self.send(sock, data)
                await self.status(sock)
            finally:
                sock.close()

    async def crowd(self, clients: int, once: Callable[[int], Awaitable[None]]) -> None:
        """`once(number)` again and again by so many clients at the same time, until the attack's end."""

        async def client(number: int) -> None:
            while self.going:
                failed = sum(self.got[name] for name in _FAILURES)
                await once(number)
                if sum(self.got[name] for name in _FAILURES) > failed:
                    await asyncio.sleep(0.02)  # an attacker that is refused does not spin either

        await asyncio.gather(*(client(number) for number in range(clients)))

    async def keep_asking(self, clients: int, requests: list[bytes]) -> None:
        """So many clients send the requests in turn, each on a new connection, until the attack's end."""

        async def once(number: int) -> None:
            await self.ask(requests[number % len(requests)])
            requests.append(requests.pop(0))

        await self.crowd(clients, once)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count a connection that failed instead of raising."""
        try:
            yield
        except TimeoutError:
            self.got["timeout"] += 1
        except ConnectionRefusedError:
            self.got["refused"] += 1
        except (ConnectionError, BrokenPipeError):
            self.got["closed"] += 1
        except OSError as error:
            self.got[error.strerror or "OSError"] += 1


_FAILURES = ("timeout", "refused", "closed", "no answer", "OSError")
