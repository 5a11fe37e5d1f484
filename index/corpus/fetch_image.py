"""One image over HTTP, within limits of time and size for the whole response.

urllib's own timeout is for each wait on a socket: a server that sends a byte now and then holds it up for ever. Here
every read ends at a deadline, for headers, redirects and the body together. Only http and https are spoken, after
redirects too. Proxies are those of the environment variables that urllib reads.
"""

from __future__ import annotations

import functools
import http.client
import io
import ssl
import time
import urllib.request
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar
from typing import IO, Any
from urllib.error import HTTPError

from index.corpus.browser_url import browser_url
from index.corpus.image_decoding import image_extension
from index.corpus.robots_header import is_disallowed

__all__ = ["FetchFailed", "FetchLimits", "fetch_image"]

_CHUNK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)
_AGENT = "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:72.0) Gecko/20100101 Firefox/72.0"  # img2dataset's
_ABOUT = "https://github.com/rom1504/img2dataset"


@dataclass(frozen=True)
class FetchLimits:
    """Seconds without a byte, seconds and bytes of a whole response, and seconds to wait as `Retry-After` asks."""

    silence_seconds: float = 10
    response_seconds: float = 50
    max_bytes: int = 50_000_000
    max_wait: float = 30


class FetchFailed(Exception):
    """No image; the message begins with the reason, such as `too_large: `, or is the server's or system's own.

    retry_after: seconds that the server asked to wait, where it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def fetch_image(
    url: str, limits: FetchLimits, *, agent_token: str | None = None, directives: Collection[str] = ()
) -> bytes:
    """The bytes of the image at `url`; FetchFailed for anything else.

    An `X-Robots-Tag` with one of `directives` (lower case), to all or to `agent_token`, forbids the image.
    """
    try:
        asked = browser_url(url)
    except ValueError as error:
        raise FetchFailed(f"bad_url: {error}") from error
    deadline = _Deadline(limits)
    request = _Request(asked.url, headers={"User-Agent": _user_agent(agent_token)}).within(deadline, CookieJar())
    if asked.authorization:
        request.add_unredirected_header("Authorization", asked.authorization)
    try:
        with _opener().open(request, timeout=limits.silence_seconds) as response:
            if is_disallowed(response.headers.get_all("X-Robots-Tag", []), agent_token, directives):
                raise FetchFailed("Use of image disallowed by X-Robots-Tag directive")
            data = _unpacked(_body(response, limits.max_bytes), response.headers, limits.max_bytes)
            _check_image(data, response.status, response.headers.get_content_type())
            return data
    except FetchFailed:
        raise
    except HTTPError as error:
        error.close()
        raise _http_failure(error) from error
    except TimeoutError as error:
        raise FetchFailed(f"timeout: {error}") from error
    except Exception as error:  # urllib and http.client raise what they meet: OSError, ValueError, IndexError, ...
        reason = getattr(error, "reason", None)  # of a URLError
        late = isinstance(reason, TimeoutError)
        raise FetchFailed(f"timeout: {reason}" if late else f"{error or type(error).__name__}") from error


def _user_agent(token: str | None) -> str:
    return f"{_AGENT} (compatible; {token}; +{_ABOUT})" if token else _AGENT


class _Deadline:
    """When a response must be over, and how long the next wait on its socket may last until then."""

    def __init__(self, limits: FetchLimits) -> None:
        self.limits = limits
        self.end = time.monotonic() + limits.response_seconds

    def wait(self) -> float:
        """Seconds; TimeoutError after the deadline."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"the response took more than {self.limits.response_seconds:g} s")
        return min(left, self.limits.silence_seconds)


class _TimedFile(io.RawIOBase):
    """A socket's file, each read of which ends at the deadline."""

    def __init__(self, raw: io.RawIOBase, sock: Any, deadline: _Deadline) -> None:
        self.raw, self.sock, self.deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self.sock.settimeout(self.deadline.wait())
        return self.raw.readinto(buffer)

    def close(self) -> None:
        self.raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: Any, *arguments: Any, deadline: _Deadline, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        raw = self.fp.detach()  # its buffer is empty: nothing was read yet
        self.fp = io.BufferedReader(_TimedFile(raw, sock, deadline))


def _timed(kind: type[http.client.HTTPConnection], deadline: _Deadline, host: str, **named: Any) -> Any:
    connection = kind(host, **{**named, "timeout": deadline.wait()})
    connection.response_class = functools.partial(_TimedResponse, deadline=deadline)  # type: ignore[assignment]
    return connection


class _Request(urllib.request.Request):
    """A request with the deadline and the cookies of its image: some servers redirect in circles without a cookie."""

    deadline: _Deadline
    cookies: CookieJar

    def within(self, deadline: _Deadline, cookies: CookieJar) -> _Request:
        self.deadline, self.cookies = deadline, cookies
        return self


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(functools.partial(_timed, http.client.HTTPConnection, req.deadline), req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        connect = functools.partial(_timed, http.client.HTTPSConnection, req.deadline)
        return self.do_open(connect, req, context=_certificates())


class _Cookies(urllib.request.BaseHandler):
    def http_request(self, req: Any) -> Any:
        req.cookies.add_cookie_header(req)
        return req

    def http_response(self, req: Any, response: Any) -> Any:
        req.cookies.extract_cookies(response, req)
        return response

    https_request = http_request
    https_response = http_response


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects to what a browser would make of the new address; the body of a redirect is not read."""

    def redirect_request(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> _Request:
        fp.close()
        try:
            place = browser_url(newurl).url
        except ValueError as error:
            raise FetchFailed(f"not_http: redirected to {newurl[:200]!r}: {error}") from error
        return _Request(place, headers={"User-Agent": req.get_header("User-agent")}).within(req.deadline, req.cookies)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """One for all: reading the certificates of this machine takes longer than most responses."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    """Speaks http and https only: urllib's own opener also reads file:, ftp: and data: URLs."""
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _Http(),
        _Https(context=_certificates()),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
        _Cookies(),
        urllib.request.HTTPErrorProcessor(),
    ]
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _body(response: Any, most: int) -> bytes:
    too_large = f"too_large: more than {most:,} bytes"
    if (response.length or 0) > most:
        raise FetchFailed(too_large)
    data = bytearray()
    while chunk := response.read1(_CHUNK):
        data += chunk
        if len(data) > most:
            raise FetchFailed(too_large)
    if response.length:  # what `Content-Length` promised and did not come; read1 does not complain
        raise FetchFailed(f"IncompleteRead({len(data)} bytes read, {response.length} more expected)")
    return bytes(data)


def _unpacked(data: bytes, headers: Any, most: int) -> bytes:
    """The bytes behind `Content-Encoding: gzip`, which some servers send unasked; others label plain images so."""
    if headers.get("Content-Encoding", "").strip().lower() not in ("gzip", "x-gzip") or data[:2] != b"\x1f\x8b":
        return data
    unpacker = zlib.decompressobj(wbits=31)  # 31: with gzip's header
    plain = unpacker.decompress(data, most + 1)
    if len(plain) > most:
        raise FetchFailed(f"too_large: more than {most:,} bytes unpacked")
    if not unpacker.eof:
        raise FetchFailed("IncompleteRead: the gzip stream ends early")
    return plain


def _check_image(data: bytes, status: int, media_type: str) -> None:
    """FetchFailed for an answer without a body, and for a page or another text instead of an image."""
    if not data:
        raise FetchFailed(f"empty: the answer (HTTP {status}) has no bytes")
    if image_extension(data) is not None:
        return
    looks_like_text = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"<", b"{", b"[")
    if looks_like_text or not media_type.startswith(("image/", "application/octet-stream", "binary/")):
        raise FetchFailed(f"not_an_image: the answer is {media_type}")


def _http_failure(error: HTTPError) -> FetchFailed:
    text = " ".join(str(error).split())
    if error.code in _REDIRECTS and "infinite loop" in text:
        return FetchFailed("redirect_loop: redirected in circles, or more than 10 times")
    if error.code in _REDIRECTS and "is not allowed" in text:
        return FetchFailed(f"not_http: {text}")
    wait = _seconds(error.headers.get("Retry-After")) if error.code in (429, 503) and error.headers else None
    return FetchFailed(text, wait)


def _seconds(retry_after: str | None) -> float | None:
    """Seconds from now of a `Retry-After` header, a number or a date (RFC 9110, section 10.2.3)."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError, OSError):
        return None
