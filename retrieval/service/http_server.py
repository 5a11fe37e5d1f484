"""How the service's app is run by uvicorn: with bounded connections, and no more of them than files may be open."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from index.errors import BadInput
from retrieval.service.http_connection import bounded_http
from retrieval.service.metrics import Metrics
from retrieval.service.new_connections import MOST_NEW, most_new
from retrieval.service.settings import Settings
from retrieval.service.stores import Stores

if TYPE_CHECKING:
    import uvicorn

__all__ = ["most_connections", "server_config"]

OTHER_FILES = 64  # that are opened while the service runs: parts of a corpus, newer generations of a store
LEAST = 16  # connections, below which no service can be offered


def server_config(app: FastAPI, graceful_seconds: int, **options: Any) -> uvicorn.Config:
    """uvicorn's configuration for an app of `create_app`. options: of `uvicorn.Config`, such as its port.

    Raises BadInput where too few files may be open.
    """
    import uvicorn

    stores: Stores = app.state.stores
    metrics: Metrics = app.state.metrics
    settings = stores.shared.settings
    return uvicorn.Config(
        app,
        http=bounded_http(settings, most_connections(settings), metrics.refuse),
        ws="none",
        log_level="warning",
        timeout_graceful_shutdown=graceful_seconds,
        timeout_keep_alive=math.ceil(settings.idle_seconds),
        server_header=False,
        # Nobody is believed about the address that a request comes from, except the proxies that the operator names.
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        **options,
    )


def most_connections(settings: Settings) -> int:
    """`Settings.connections`, or as many as files may be open beside those that are. Raises the system's soft limit.

    Raises BadInput where that leaves too few.
    """
    try:
        import resource
    except ImportError:  # not a Unix: there is no such limit
        return settings.connections
    try:
        opened = sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:  # not Linux
        opened = OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.connections + MOST_NEW + opened + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return settings.connections
    most = min(settings.connections, soft - most_new() - opened - OTHER_FILES)
    if most < LEAST:
        raise BadInput(
            f"only {soft} files may be open, of which {opened} are: that leaves too few for connections; allow more "
            f"(ulimit -n {needed})"
        )
    return most
