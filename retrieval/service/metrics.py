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
        self._refused = Counter(
            "clipmine_refused", "Requests and connections refused, by the setting that decided.", ["bound"],
            registry=self.registry,
        )  # fmt: skip
        self._taken = Gauge(
            "clipmine_taken", "What requests in progress have taken of what all share.", ["bound"],
            registry=self.registry,
        )  # fmt: skip
        self.partial = Counter("clipmine_partial_answers", "Answers that missed a shard.", registry=self.registry)
        self.reopened = Counter(
            "clipmine_reopened", "Newer generations of a store that were found, by what came of it.",
            ["store", "outcome"], registry=self.registry,
        )  # fmt: skip
        self._recall = Gauge(
            "clipmine_recall_at_10", "Measured when the index was built, at the efSearch in force.",
            ["store", "modality"], registry=self.registry,
        )  # fmt: skip
        self._least_recall = Gauge(
            "clipmine_least_recall_at_10", "As above, on the captions or the hard queries where it is the least.",
            ["store", "modality"], registry=self.registry,
        )  # fmt: skip
        self._since = Gauge(
            "clipmine_forgotten_since_recall", "Rows that were forgotten after recall was measured.",
            ["store", "modality"], registry=self.registry,
        )  # fmt: skip
        self._ef_search = Gauge(
            "clipmine_ef_search", "The efSearch in force.", ["store", "modality"], registry=self.registry
        )
        self._generation = Gauge(
            "clipmine_generation", "1 for the generation of the store that is served.", ["store", "generation"],
            registry=self.registry,
        )  # fmt: skip
        self._rows = Gauge("clipmine_rows", "Rows of the store.", ["store"], registry=self.registry)
        self._indexed = Gauge(
            "clipmine_indexed_rows", "Rows that the index holds; the others are scanned.", ["store", "modality"],
            registry=self.registry,
        )  # fmt: skip
        self._forgotten = Gauge(
            "clipmine_forgotten_rows", "Rows that are never returned.", ["store"], registry=self.registry
        )

    def refuse(self, bound: str) -> None:
        """Count a refusal. bound: the name of the setting that decided."""
        self._refused.labels(bound).inc()

    def show_taken(self, bound: str, amount: int) -> None:
        """Set how much has been taken of a shared amount."""
        self._taken.labels(bound).set(amount)

    def forget_stores(self) -> None:
        """Clear what `describe` has set, since a store's former generation must not stay."""
        of_indexes = (self._recall, self._least_recall, self._since, self._ef_search, self._indexed)
        for gauge in (*of_indexes, self._generation, self._rows, self._forgotten):
            gauge.clear()

    def describe(
        self, store: str, generation: str, rows: int, forgotten: int, indexes: Sequence[dict[str, Any]]
    ) -> None:
        """Set the gauges of a store from `Backend.indexes`."""
        self._generation.labels(store, generation).set(1)
        self._rows.labels(store).set(rows)
        self._forgotten.labels(store).set(forgotten)
        for index in indexes:
            labels = (store, index["modality"])
            exact = index["kind"] == "exact"
            self._recall.labels(*labels).set(1.0 if exact else index["recall_at_10"] or 0)
            self._least_recall.labels(*labels).set(1.0 if exact else index.get("least_recall_at_10") or 0)
            self._since.labels(*labels).set(index.get("forgotten_since_recall") or 0)
            self._ef_search.labels(*labels).set(index["ef_search"] or 0)
            self._indexed.labels(*labels).set(index["indexed"] or 0)

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
