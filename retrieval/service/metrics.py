"""Prometheus metrics of the service: requests, time by stage, batch sizes, the recall of the indexes.

Each app has a registry of its own, so that two apps in a process do not share counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters and histograms of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "clipmine_requests", "Requests by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "clipmine_request_seconds", "From the request's head to the answer's end.", ["route"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            "clipmine_stage_seconds", "Time of a stage, its wait for a batch included.", ["stage"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch = Histogram(
            "clipmine_batch_size", "Texts, images or vectors of one call.", ["stage"],
            buckets=_SIZES, registry=self.registry,
        )  # fmt: skip
        self.partial = Counter("clipmine_partial_answers", "Answers that missed a shard.", registry=self.registry)
        self._recall = Gauge(
            "clipmine_recall_at_10", "Measured when the index was built, at the efSearch in force.", ["modality"],
            registry=self.registry,
        )  # fmt: skip
        self._ef_search = Gauge("clipmine_ef_search", "The efSearch in force.", ["modality"], registry=self.registry)
        self._rows = Gauge("clipmine_rows", "Rows of the store.", registry=self.registry)
        self._forgotten = Gauge("clipmine_forgotten_rows", "Rows that are never returned.", registry=self.registry)

    def describe(self, rows: int, forgotten: int, indexes: Sequence[dict[str, Any]]) -> None:
        """Set the gauges from `Backend.indexes`."""
        self._rows.set(rows)
        self._forgotten.set(forgotten)
        for index in indexes:
            self._recall.labels(index["modality"]).set(1.0 if index["kind"] == "exact" else index["recall_at_10"] or 0)
            self._ef_search.labels(index["modality"]).set(index["ef_search"] or 0)

    def observe_batch(self, stage: str, requests: int, size: int) -> None:
        """Record one call of a batch queue: its stage, and its size in texts, images or vectors."""
        self.batch.labels(stage).observe(size)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage of a request."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(name).observe(time.perf_counter() - started)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
