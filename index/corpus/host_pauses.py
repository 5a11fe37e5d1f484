"""Pauses that servers ask for: `Retry-After`, with HTTP's 429 Too Many Requests or 503 Service Unavailable.

A pause holds for all URLs of a host. A host that asks again and again is not waited for any more, so that it does not
hold up the rest of a shard; its rows fail as http_429 and can be tried again in a later run.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from urllib.parse import urlsplit

__all__ = ["HostPauses"]

_MOST_PAUSES = 3  # of a host, one after another, without an image between them


class HostPauses:
    """The pauses of one shard's hosts, shared by its threads; none is longer than `longest` seconds."""

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self._until: dict[str, float] = {}
        self._fruitless: Counter[str] = Counter()
        self._lock = threading.Lock()

    def begin(self, url: str, seconds: float) -> bool:
        """Start a pause of the URL's host; False where it is too long, or the host paused too often."""
        host = _host(url)
        with self._lock:
            now = time.monotonic()
            if now < self._until.get(host, 0.0):  # another thread was told so too
                return True
            if seconds > self.longest or self._fruitless[host] >= _MOST_PAUSES:
                return False
            self._fruitless[host] += 1
            self._until[host] = now + seconds
            return True

    def wait(self, url: str) -> None:
        """Sleep until the pause of the URL's host is over."""
        with self._lock:
            left = self._until.get(_host(url), 0.0) - time.monotonic()
        if left > 0:
            time.sleep(left)

    def end(self, url: str) -> None:
        """The host answered with an image."""
        with self._lock:
            self._fruitless.pop(_host(url), None)


def _host(url: str) -> str:
    try:
        return urlsplit(url.strip()).netloc.lower()
    except ValueError:
        return ""
