"""A server's address and the key that it asks for: what is sent, what may be shown, and how the rest is hidden.

address = ServerAddress.parse("https://me:pass@host/v1?api-version=1", api_key=None)
address.url                                  # https://host/v1
with address.hidden_in_logs(): ...
"""

from __future__ import annotations

import base64
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from index.errors import BadInput

__all__ = ["KEY_VARIABLE", "ServerAddress"]

KEY_VARIABLE = "OPENAI_API_KEY"
# The loggers below which openai and its HTTP libraries write: addresses, and headers of what the server answered.
_LOGGERS = ("openai", "httpx", "httpx2", "httpcore", "httpcore2", "hpack", "h2", "asyncio")
_HIDDEN = "***"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A word that is shorter may be one of an answer by chance; a key is not.
_SURE = 12


@dataclass(frozen=True, repr=False)
class ServerAddress:
    """url: without credentials and query, so it can be shown. The other fields may hold secrets and are never shown.

    query: sent with each request. headers: beside openai's own. key: "" where the server asks for none.
    """

    url: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    _secrets: tuple[str, ...] = ()

    @classmethod
    def parse(cls, base_url: str, api_key: str | None = None, key_variable: str | None = None) -> ServerAddress:
        """The address of `base_url`, such as http://host:8000/v1, with the key of `api_key` or of a variable.

        key_variable: the environment variable that holds the key. Without it, OPENAI_API_KEY is read where it is set
        and the address holds no credentials. Raises BadInput, whose text holds no secret, for an address that is none,
        a variable that is not set, or a key beside credentials.
        """
        try:
            parts = urlsplit(base_url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if parts.scheme not in ("http", "https") or not host:
            raise BadInput("the server's address is no URL; it looks like http://host:8000/v1")
        try:
            host.encode("idna")
        except UnicodeError:
            raise BadInput("the host of the server's address is no name of a host; is the address right?") from None
        if not parts.path.isprintable():
            raise BadInput("the server's address holds a character that no URL has; is the address right?")
        place = f"[{host}]" if ":" in host else host
        url = f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if user or password:
            if api_key or key_variable:
                raise BadInput(f"{url}: give a key or credentials in the address, not both")
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            secret = [password or user, pair]
            headers = {"Authorization": f"Basic {pair}"}
        else:
            key = _key(api_key, key_variable, url)
            secret, headers = [key], {}
        query = dict(parse_qsl(parts.query))
        secrets = {form for text in (*secret, *query.values()) for form in (text, quote(text, safe=""))}
        # A short value of a query ("1") is no secret, and hiding it would spoil every message.
        kept = sorted((text for text in secrets if len(text) >= 4), key=len, reverse=True)
        return cls(url, query, headers, "" if headers else secret[0], tuple(kept))

    def __repr__(self) -> str:
        return f"ServerAddress({self.url!r})"

    def hide(self, text: str) -> str:
        """The text with `***` in place of every secret, however a server or a library came to repeat it."""
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return re.sub(r"(\w+://)[^/\s@]+@", r"\1", text)

    def hide_in_answer(self, text: str) -> str:
        """The text of an answer with `***` in place of the secrets that no answer holds by chance."""
        for secret in self._secrets:
            if len(secret) >= _SURE:
                text = text.replace(secret, _HIDDEN)
        return text

    @contextmanager
    def hidden_in_logs(self) -> Iterator[None]:
        """Hide the secrets in what openai and its HTTP libraries log meanwhile, at any level."""
        hiding = _Hiding(self)
        known = list(logging.root.manager.loggerDict)
        names = {*_LOGGERS, *(name for name in known if name.split(".")[0] in _LOGGERS)}
        for name in names:
            logging.getLogger(name).addFilter(hiding)
        try:
            yield
        finally:
            for name in names:
                logging.getLogger(name).removeFilter(hiding)


class _Hiding(logging.Filter):
    def __init__(self, address: ServerAddress) -> None:
        super().__init__()
        self._address = address

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        hidden = self._address.hide(said)
        if hidden != said:
            record.msg, record.args = hidden, ()
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            if (hidden := self._address.hide(text)) != text:
                record.exc_info, record.exc_text = None, hidden
        return True


def _key(api_key: str | None, variable: str | None, url: str) -> str:
    if api_key is None and variable is not None and not _VARIABLE.fullmatch(variable):
        # It may be the key itself, which no message shows.
        raise BadInput(f"{url}: what names the environment variable of the key is no name; give the name, not the key")
    if api_key is None and variable is not None and not os.environ.get(variable, "").strip():
        raise BadInput(f"{url}: the environment variable {variable!r:.100} holds no key; set it, or name another one")
    key = (os.environ.get(variable or KEY_VARIABLE, "") if api_key is None else api_key).strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise BadInput(f"{url}: the key holds characters that no key has; was more than the key copied?")
    return key
