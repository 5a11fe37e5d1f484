"""The parts of an http(s) URL that a request needs, read as a browser reads it, and where a redirect leads.

Names in other scripts become ASCII, paths are percent-encoded, and 0x7f.1 or 2130706433 are read as the IPv4 addresses
that they stand for, so that what is checked is what is connected to.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urljoin

from index.corpus.browser_url import browser_url
from index.errors import BadInput

__all__ = ["WebUrl", "redirected", "web_url"]

PORTS = {"http": 80, "https": 443}
MOST_CHARACTERS = 8_000  # RFC 9110, section 4.1, asks for at least that many

_PARTS = re.compile(r"(https?)://(\[[^/?\[\]]*\]|[^/?:\[\]]*)(?::([0-9]{0,5}))?([/?].*)", re.DOTALL)
# What the URL standard takes for an IPv4 address: the last label is a number (url.spec.whatwg.org, "ends in a number").
_NUMERIC = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\.?")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")  # RFC 1035, section 2.3.4; underscores occur


@dataclass(frozen=True)
class WebUrl:
    """A URL to fetch. host: a name in ASCII, or an IP address without brackets. target: path and query, in ASCII."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def address(self) -> str | None:
        """The host, where it is an IP address."""
        try:
            return str(ipaddress.ip_address(self.host))
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """The value of the `Host` header: the port is left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def server_name(self) -> str:
        """The name that a TLS certificate must have; without the dot that may end a full name (RFC 6066, section 3)."""
        return self.host.removesuffix(".")

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def web_url(text: str) -> WebUrl:
    """Read a URL. Raises BadInput for one that is not http or https, has a user name, or names no host."""
    if len(text) > MOST_CHARACTERS:
        raise BadInput(f"image_url: has more than {MOST_CHARACTERS:,} characters")
    try:
        asked = browser_url(text)
    except UnicodeError as error:
        raise BadInput("image_url: holds half a surrogate pair, which is no character") from error
    except ValueError as error:
        raise BadInput(f"image_url: {error}") from error
    parts = _PARTS.fullmatch(asked.url)
    if asked.authorization is not None:
        raise BadInput("image_url: no user names and passwords are sent; leave them out")
    if parts is None:
        raise BadInput("image_url: has no host that can be understood")
    scheme, host, port, target = parts.groups()
    target = target if target.startswith("/") else f"/{target}"
    return WebUrl(scheme, _host(host), int(port) if port else PORTS[scheme], target)


def redirected(url: WebUrl, location: bytes) -> WebUrl:
    """Where a `Location` header leads from `url`: to a URL, or to a path on the same host (RFC 9110, section 10.2.2).

    Raises BadInput as `web_url` does.
    """
    try:
        text = location.decode()
    except UnicodeDecodeError:
        text = location.decode("latin-1")
    path, question, query = text.strip().partition("?")
    text = path.replace("\\", "/") + question + query
    if not text:
        raise BadInput("image_url: redirected to nowhere")
    try:
        return web_url(urljoin(str(url), text))
    except ValueError as error:
        raise BadInput("image_url: redirected to what is no URL") from error
    except BadInput as error:
        raise BadInput(f"{error} (redirected there)") from error


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            if "%" in text:
                raise ValueError("the number of a network interface")
            return str(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
        except ValueError as error:
            raise BadInput(f"image_url: {text[:80]!r} is no IPv6 address") from error
    text = text.lower()
    if _NUMERIC.fullmatch(text):
        try:
            return socket.inet_ntoa(socket.inet_aton(text.removesuffix(".")))
        except OSError as error:
            raise BadInput(f"image_url: {text[:80]!r} is no IPv4 address") from error
    name = text.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise BadInput(f"image_url: {text[:80]!r} is no host name")
    return text
