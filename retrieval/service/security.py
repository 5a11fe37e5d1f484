"""Checks before the routes: who asks, for which host, with which token; limits of a body's size and time.

Plain ASGI middleware, so that bodies are not buffered and streams stay streams. It also sends long answers in pieces,
each of which waits until the client has read those before it, and ends the work for clients that have hung up.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson
from starlette.requests import ClientDisconnect

from retrieval.service.admission import CLIENT, Admission, Budget
from retrieval.service.backend import Overloaded
from retrieval.service.http_connection import CONNECTION
from retrieval.service.settings import Settings

__all__ = ["Guard", "network_of"]

# Open without a token: load balancers send none, and the page must load before it can ask for one.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
OPEN_FOLDER = "/page/"
PIECE = 128 << 10  # bytes of an answer that are given to the connection at once

Scope = dict[str, Any]


@dataclass(frozen=True)
class _Refusal:
    """bound: the name of the setting that decided, for the metrics."""

    status: int
    bound: str
    error: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Guard:
    """ASGI middleware: refuses before the app sees the request, or while it reads the body.

    refused: called with the name of a bound for each request that it refuses.
    """

    def __init__(self, app: Any, settings: Settings, admission: Admission, refused: Callable[[str], None]) -> None:
        self.app, self.settings, self._refused = app, settings, refused
        self._tokens = [token.encode() for token in settings.tokens]
        self._bodies, self._requests = admission.bodies, admission.requests
        self._serves = lru_cache(1_000)(lambda host: serves_host(host, settings.hosts))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":  # there are none here
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        client, refused = self._check_head(scope, headers)
        # What is open to strangers costs next to nothing. If it counted, they could take all places by reading nothing.
        places = 0 if _is_open(scope) else 1
        if refused is None and places and not self._requests.fits(places, client):
            refused = _overloaded(self._requests)
        if refused is not None:
            self._refused(refused.bound)
            await _answer(send, refused)
            return
        CLIENT.set(client)
        self._requests.take(places, client)
        connection = scope.get(CONNECTION)
        if connection is not None:
            connection.task = asyncio.current_task()
        try:
            await self._pass_on(scope, receive, send, client)
        except (asyncio.CancelledError, ClientDisconnect):
            if connection is None or not connection.transport.is_closing():
                raise
            # Its client has hung up: the work has ended, and nobody is told.
        finally:
            self._requests.take(-places, client)
            if connection is not None:
                connection.task = None

    async def _pass_on(self, scope: Scope, receive: Any, send: Any, client: str) -> None:
        body = _Body(receive, self.settings, self._bodies, client)
        started = False

        async def guarded(message: dict[str, Any]) -> None:
            nonlocal started
            if body.refused is not None and not started:
                return  # the app's answer to a body that was cut off here
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
            elif len(content := message.get("body", b"")) > PIECE:
                more = message.get("more_body", False)
                for at in range(0, len(content), PIECE):
                    last = at + PIECE >= len(content)
                    piece = bytes(memoryview(content)[at : at + PIECE])
                    await send({"type": "http.response.body", "body": piece, "more_body": more or not last})
                return
            await send(message)

        try:
            await self.app(scope, body.receive, guarded)
        except Exception:
            if body.refused is None:
                raise
        finally:
            body.give_back()
        if body.refused is not None and not started:
            self._refused(body.refused.bound)
            await _answer(send, body.refused)

    def _check_head(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[str, _Refusal | None]:
        """Who asks; and the refusal, if any, that the request's head alone decides: its host, token and length."""
        client = client_of(scope)
        host = headers.get(b"host")
        if host is not None and not self._serves(host):
            error = "this service is not called so; its operator may allow the name (--allowed-host NAME)"
            return client, _Refusal(400, "hosts", f"Host {host[:100].decode('latin-1')!r}: {error}")
        if self._tokens and not _is_open(scope):
            scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
            # All are compared, each in constant time, so that the time taken gives no token away.
            known = [hmac.compare_digest(token.strip(), allowed) for allowed in self._tokens]
            if scheme.lower() != b"bearer" or not any(known):
                error = "a bearer token is needed: send Authorization: Bearer TOKEN"
                return client, _Refusal(401, "tokens", error, [(b"www-authenticate", b"Bearer")])
            client = f"token {known.index(True)}"
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and (len(length) > 20 or int(length) > self.settings.max_body_bytes):
            error = f"the body has {length[:20].decode()} bytes: at most {self.settings.max_body_bytes}"
            return client, _Refusal(413, "max_body_bytes", error)
        return client, None


def _is_open(scope: Scope) -> bool:
    """Whether a request needs no token: the page's own files, health checks, what a browser asks beforehand."""
    path = scope["path"]
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER) or scope["method"] == "OPTIONS"


def client_of(scope: Scope) -> str:
    """The address that a request comes from; of IPv6 the /64 network, which a single customer has."""
    return network_of(str((scope.get("client") or ("",))[0]))


def network_of(address: str) -> str:
    """An address of IPv4 as it is; of IPv6 the /64 network, which a single customer has."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:  # a client of IPv4, seen by a socket of IPv6
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))


def serves_host(header: bytes, hosts: tuple[str, ...]) -> bool:
    """Whether a Host header names this service: an IP address, localhost, a name of this machine, or one of `hosts`.

    A page of another origin whose name an attacker points at this machine (DNS rebinding) has a name of its own.
    """
    name = header.decode("latin-1").lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    name = name.removesuffix(".")
    own = socket.gethostname().lower()
    if "*" in hosts or name in ("localhost", own, own.partition(".")[0], *(host.lower() for host in hosts)):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Body:
    """Passes a request's body on to the app, and counts it among the bodies that are held until their requests end.

    When it is too large or too slow, or there are too many, the app is told that the client left.
    """

    def __init__(self, receive: Any, settings: Settings, held: Budget, client: str) -> None:
        self._held, self._client = held, client
        self._receive, self._most, self._seconds = receive, settings.max_body_bytes, settings.body_seconds
        self._end = asyncio.get_running_loop().time() + settings.body_seconds
        self._read = 0
        self._whole = False
        self.refused: _Refusal | None = None

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any]
        if self._whole:  # only http.disconnect can still come
            message = await self._receive()
            return message
        if self.refused is None:
            left = max(0.0, self._end - asyncio.get_running_loop().time())
            try:
                message = await asyncio.wait_for(self._receive(), left)
            except TimeoutError:
                self.refused = _Refusal(408, "body_seconds", f"the body did not come within {self._seconds:g} s")
                return {"type": "http.disconnect"}
            if message["type"] != "http.request":
                return message
            count = len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._read + count > self._most:
                self.refused = _Refusal(413, "max_body_bytes", f"the body has more than {self._most} bytes")
            elif self._held.taken > self._read and not self._held.fits(
                count, self._client
            ):  # one that is alone may pass
                self.refused = _overloaded(self._held)
            else:
                self._read += count
                self._held.take(count, self._client)
                return message
        return {"type": "http.disconnect"}

    def give_back(self) -> None:
        """The request has ended: its body is no longer counted."""
        self._held.take(-self._read, self._client)
        self._read = 0


def _overloaded(budget: Budget) -> _Refusal:
    return _Refusal(429, budget.name, str(Overloaded(budget.what)), [(b"retry-after", b"1")])


async def _answer(send: Any, refused: _Refusal) -> None:
    body = orjson.dumps({"error": refused.error})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),  # the rest of the body is not read
        *refused.headers,
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
