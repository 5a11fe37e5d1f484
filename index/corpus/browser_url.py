"""URLs as a browser requests them: without padding, percent-encoded, host names in ASCII (IDNA).

The rules are those of the URL standard (url.spec.whatwg.org) for http and https: padding, tabs and line ends are
dropped, a backslash counts as a slash, characters outside ASCII become percent-encoded UTF-8, existing escapes stay.
Names and passwords go into an `Authorization` header, the fragment goes nowhere.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

import idna

__all__ = ["PADDING", "BrowserUrl", "browser_url"]

# A regular expression, for Python and RE2, of what may surround a URL in a table: controls, blanks, the byte-order mark
# and the zero-width space, which spreadsheets and web pages leave behind.
PADDING = "[\x00-\x20\x7f\u00a0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff]*"
_TRIMMED = re.compile(f"{PADDING}(.*?){PADDING}", re.DOTALL)
_HTTP = re.compile(r"(https?)://([^/?]*)([^?]*)(.*)", re.IGNORECASE | re.DOTALL)
_NOT_IN_HOST = re.compile(r"[\x00-\x20\x7f#%/:<>?@\[\\\]^`{|}\"]")
_KEPT = "!$%&'()*+,/:;=?@[]^_|~-."  # stays as it is in a path or a query; letters and digits always do


class BrowserUrl(NamedTuple):
    """A URL in ASCII, and the value of the `Authorization` header that its name and password stand for."""

    url: str
    authorization: str | None = None


def browser_url(text: str) -> BrowserUrl:
    """What a browser requests for `text`; ValueError, with the reason, where it is no URL of http or https."""
    trimmed = _TRIMMED.fullmatch(text)
    plain = re.sub(r"[\t\r\n]", "", trimmed[1] if trimmed else text).partition("#")[0]
    front, question, query = plain.partition("?")
    parts = _HTTP.fullmatch(front.replace("\\", "/") + question + query)
    if parts is None:
        raise ValueError("it does not begin with http:// or https://")
    scheme, authority, path, query = parts.groups()
    user, _, place = authority.rpartition("@")
    escaped = quote(path or "/", safe=_KEPT) + quote(query, safe=_KEPT)
    credentials = base64.b64encode(unquote(user).encode()).decode() if user else None
    return BrowserUrl(f"{scheme.lower()}://{_host_and_port(place)}{escaped}", credentials and f"Basic {credentials}")


def _host_and_port(place: str) -> str:
    if place.startswith("["):  # an IPv6 address
        host, bracket, port = place.partition("]")
        name, port = host + bracket, port.removeprefix(":")
    else:
        host, _, port = place.partition(":")
        name = _ascii_host(unquote(host))
    if port and not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise ValueError(f"the port {port[:40]!r} is no number below 65536")
    return f"{name}:{int(port)}" if port else name


def _ascii_host(host: str) -> str:
    if not host:
        raise ValueError("no host given")
    try:
        name = host.lower() if host.isascii() else idna.encode(host, uts46=True, transitional=False).decode()
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"the host {host[:80]!r} is no name ({error})") from error
    if _NOT_IN_HOST.search(name) or len(name) > 253:  # RFC 1035, section 2.3.4
        raise ValueError(f"the host {host[:80]!r} is no name")
    return name
