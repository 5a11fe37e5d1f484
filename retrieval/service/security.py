"""Checks before the routes: bearer tokens, limits on a body's size and time, the header X-Content-Type-Options.

Plain ASGI middleware, so that bodies are not buffered and streams stay streams.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from typing import Any

import orjson

from retrieval.service.admission import Budget
from retrieval.service.backend import Overloaded
from retrieval.service.settings import Settings

__all__ = ["Guard"]

# Open without a token: load balancers send none, and the page must load before it can ask for one.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
OPEN_FOLDER = "/page/"

Scope = dict[str, Any]


@dataclass(frozen=True)
class _Refusal:
    status: int
    error: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Guard:
    """ASGI middleware: refuses before the app sees the request, or while it reads the body."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self._tokens = [token.encode() for token in settings.tokens]
        self._bodies = Budget("memory for its body", settings.body_bytes)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._check_head(scope)
        if refused is not None:
            await _answer(send, refused)
            return
        body = _Body(receive, self.settings, self._bodies)
        started = False

        async def guarded(message: dict[str, Any]) -> None:
            nonlocal started
            if body.refused is not None and not started:
                return  # the app's answer to a body that was cut off here
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
            await send(message)

        try:
            await self.app(scope, body.receive, guarded)
        except Exception:
            if body.refused is None:
                raise
        finally:
            body.give_back()
        if body.refused is not None and not started:
            await _answer(send, body.refused)

    def _check_head(self, scope: Scope) -> _Refusal | None:
        """The refusal, if any, that the request's head alone decides: its token and announced length."""
        headers = dict(scope["headers"])
        path = scope["path"]
        opened = path in OPEN_PATHS or path.startswith(OPEN_FOLDER) or scope["method"] == "OPTIONS"
        if self._tokens and not opened:
            scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
            # All are compared, each in constant time, so that the time taken gives no token away.
            known = [hmac.compare_digest(token.strip(), allowed) for allowed in self._tokens]
            if scheme.lower() != b"bearer" or not any(known):
                error = "a bearer token is needed: send Authorization: Bearer TOKEN"
                return _Refusal(401, error, [(b"www-authenticate", b"Bearer")])
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.settings.max_body_bytes:
            return _Refusal(413, f"the body has {int(length)} bytes: at most {self.settings.max_body_bytes}")
        return None


class _Body:
    """Passes a request's body on to the app, and counts it among the bodies that are held until their requests end.

    When it is too large or too slow, or there are too many, the app is told that the client left.
    """

    def __init__(self, receive: Any, settings: Settings, held: Budget) -> None:
        self._held = held
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
                self.refused = _Refusal(408, f"the body did not come within {self._seconds:g} s")
                return {"type": "http.disconnect"}
            if message["type"] != "http.request":
                return message
            count = len(message.get("body", b""))
            others = self._held.taken - self._read
            self._read += count
            self._held.taken += count
            self._whole = not message.get("more_body", False)
            if self._read > self._most:
                self.refused = _Refusal(413, f"the body has more than {self._most} bytes")
            elif others and others + self._read > self._held.most:
                self.refused = _Refusal(429, str(Overloaded(self._held.what)), [(b"retry-after", b"1")])
            else:
                return message
        return {"type": "http.disconnect"}

    def give_back(self) -> None:
        """The request has ended: its body is no longer counted."""
        self._held.taken -= self._read
        self._read = 0


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
