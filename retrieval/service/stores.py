"""The stores that a service serves, by name, and their newer generations: opened when their files change.

A request keeps the store that it began with. When a newer generation has been opened, requests that come later get it,
and the older one is closed when its last request has been answered.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence

from index.errors import BadInput, ClipmineError
from retrieval.service.backend import Backend
from retrieval.service.metrics import Metrics
from retrieval.service.search import Service, Shared
from retrieval.service.settings import Settings

__all__ = ["NoSuchStore", "Stores"]

log = logging.getLogger("clipmine.service")

READY_SECONDS = 0.5  # between two looks whether the stores are ready
OLD_SECONDS = 30.0  # after so long without a look, the last one says nothing


class NoSuchStore(BadInput):
    """No store of this name is served."""


class Stores:
    """The services of an app, by the names of their backends; the first is the default.

    Raises BadInput when two stores have the same name.
    """

    def __init__(self, backends: Sequence[Backend], settings: Settings, metrics: Metrics) -> None:
        self.shared = Shared(settings)
        self._metrics = metrics
        self._services: dict[str, Service] = {}
        for backend in backends:
            if backend.name in self._services:
                raise BadInput(f"two stores are called {backend.name!r}: give them names (--store NAME=PATH)")
            self._services[backend.name] = self._open(backend)
        self._failures: dict[str, str] = {}  # by store: why its newer generation could not be opened
        self._watching: list[asyncio.Task[None]] = []
        self._problems: dict[str, str | None] = {}  # by store: why it is not ready, as `_watch_readiness` found it
        self._looked = -math.inf
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def names(self) -> list[str]:
        """The names, in the order given."""
        return list(self._services)

    def get(self, name: str | None = None) -> Service:
        """The service of this name, by default the first. Raises NoSuchStore."""
        if not name:
            return next(iter(self._services.values()))
        found = self._services.get(name)
        if found is None:
            there = ", ".join(map(repr, self._services))
            raise NoSuchStore(f"no index {name[:100]!r} here; there is {there}")
        return found

    def all(self) -> list[Service]:
        """The services of all stores."""
        return list(self._services.values())

    async def start(self) -> None:
        """Open the indexes, and begin to look for newer generations. An index that is broken is said in the log."""
        for service in self.all():
            try:
                await asyncio.to_thread(service.backend.indexes)
            except ClipmineError as error:
                log.error("%s: %s", service.backend.name, error)
        self._watching = [asyncio.create_task(self._watch_readiness())]
        if self.shared.settings.reload_seconds > 0:
            self._watching.append(asyncio.create_task(self._watch()))

    async def close(self) -> None:
        """Stop looking, and close all stores."""
        for task in self._watching:
            task.cancel()
        if self._watching:
            await asyncio.wait(self._watching)
        if self._closing:
            await asyncio.wait(self._closing)
        for service in self._services.values():
            await service.backend.close()
        self.shared.close()

    def problem(self) -> str | None:
        """One line that says which store is not ready, and why; None when all are. As it was a moment ago."""
        if time.monotonic() - self._looked > OLD_SECONDS:
            return "whether the stores are ready is not known yet"
        for name, problem in self._problems.items():
            if problem is not None:
                return f"{name}: {problem}" if len(self._services) > 1 else problem
        return None

    async def _watch_readiness(self) -> None:
        """Keep `problem` up to date, so that asking for it waits for nothing."""
        while True:
            try:
                services = dict(self._services)
                found = await asyncio.gather(*(service.backend.ready() for service in services.values()))
                self._problems = dict(zip(services, found, strict=True))
                self._looked = time.monotonic()
            except Exception:  # the next look may succeed
                log.exception("asking whether the stores are ready failed")
            await asyncio.sleep(READY_SECONDS)

    async def look(self) -> None:
        """Open the newer generation of each store that has one. A store that cannot be opened stays as it is."""
        for name, service in list(self._services.items()):
            try:
                backend = await service.backend.newer()
            except (ClipmineError, OSError) as error:
                self._metrics.reopened.labels(name, "failed").inc()
                if self._failures.get(name) != str(error):  # said once, not at every look
                    self._failures[name] = str(error)
                    log.error("%s has changed and cannot be opened; the open generation is served: %s", name, error)
                continue
            self._failures.pop(name, None)
            if backend is not None:
                self._services[name] = self._open(backend)
                self._metrics.reopened.labels(name, "opened").inc()
                log.warning("%s has changed: serving generation %s", name, backend.generation)
                task = asyncio.create_task(_close_unused(service))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def _open(self, backend: Backend) -> Service:
        if hasattr(backend, "observe"):
            backend.observe = self._metrics.observe_batch
        return Service(backend, self.shared)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.shared.settings.reload_seconds)
            try:
                await self.look()
            except Exception:  # the next look may succeed
                log.exception("looking for newer generations failed")


async def _close_unused(service: Service) -> None:
    """Close a service that gets no new requests, after those that it is answering."""
    await service.unused()
    await service.backend.close()
