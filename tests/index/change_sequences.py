"""Random changes of a store, some of them killed, with every answer in between compared with an exact scan.

A store grows, forgets, is compacted, indexed and indexed anew by processes of their own, as the commands are. Some of
these are killed after a random time, and the store must go on as it was or as it would have been. An index that was
opened before a change must answer during it and after it; what is opened after it must answer as an exact scan of the
rows that are left, with every row's id meaning what it meant.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np

from index.graph.build import IndexConfig, undone_index_items
from index.graph.search_index import HnswIndex, open_index
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from tests.index.vectors import build, clustered, exact_ids, grow, vector_store

START, MOST_ROWS, K = 300, 1_700, 10
CHANGES = ("grow", "forget", "compact", "index", "new index")
KILLED = 0.25  # share of the changes that are killed
LONGEST = 0.4  # seconds after which a process is killed, at most
# With so large an efSearch a walk of a small graph reaches every node that it can.
EF_SEARCH = 2_000
LEAST_RECALL = 0.97


@dataclass
class Counts:
    """What sequences consisted of. answered: queries that were compared with an exact scan."""

    changes: int = 0
    killed: int = 0
    answered: int = 0
    worst: float = 1.0
    by_name: dict[str, int] = field(default_factory=dict)


def run_sequence(folder: Path, seed: int, steps: int, counts: Counts | None = None) -> Counts:
    """Change a store in `folder` in `steps` random ways; raises AssertionError, with the seed, at a wrong answer."""
    sequence = _Sequence(folder, seed, counts or Counts())
    for _ in range(steps):
        sequence.step()
    sequence.finish()
    return sequence.counts


def processes() -> ForkServerContext:
    """Processes that are forked from a server which has imported what they need, so that each starts at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["torch", "index.graph.build", "index.store.compact", "index.store.forget", __name__]
    )
    return context


class _Sequence:
    def __init__(self, folder: Path, seed: int, counts: Counts) -> None:
        self.seed, self.counts = seed, counts
        self.random = np.random.default_rng(seed)
        image, text = clustered(2_000, dim=16, clusters=8, seed=seed)
        # All positive, so that a row of -1 is the worst.
        self.image, self.text, self.queries = np.abs(image), np.abs(text), np.abs(text[-40:])
        store = vector_store(folder, self.image[:START], self.text[:START])
        self.path = str(store.path)
        self.gone: set[int] = set()
        self.config = IndexConfig(self.path, "image", shard_rows=170, queries=20)
        build(self.config)
        self.context = processes()

    def step(self) -> None:
        change, before = str(self.random.choice(CHANGES)), EmbeddingStore.open(self.path)
        old = open_index(before, "image")
        killed = self.random.random() < KILLED
        forgotten: set[int] = set()
        if change == "grow":
            # The part appears with the manifest, in one rename, so that there is nothing to kill.
            more, killed = before.rows + int(self.random.integers(1, 130)), False
            if before.rows < MOST_ROWS:
                grow(before, self.image[before.rows : more], self.text[before.rows : more])
        elif change == "forget":
            forgotten = set(self.random.integers(0, before.rows, int(self.random.integers(1, 30))).tolist())
            killed = self._run(_forget, self.path, sorted(forgotten), killed=killed)
            kept = set(EmbeddingStore.open(self.path).forgotten.tolist())
            assert killed or forgotten <= kept, self.seed
            assert kept - self.gone in (set(), forgotten - self.gone), self.seed  # all of them, or none
            self.gone |= kept
        elif change == "compact":
            killed = self._run(compact_store, self.path, killed=killed)
        else:
            if change == "new index":
                self.config = IndexConfig(self.path, "image", M=int(self.random.integers(8, 24)))
            killed = self._run(build, self.config, killed=killed)
        self.counts.changes += 1
        self.counts.killed += killed
        self.counts.by_name[change] = self.counts.by_name.get(change, 0) + 1
        self._check(old, before.rows, self.gone)  # which looks for what was forgotten at every search
        opened = EmbeddingStore.open(self.path)
        assert opened.rows >= before.rows, self.seed
        self._check(open_index(opened, "image"), opened.rows, self.gone)

    def finish(self) -> None:
        """Index and compact without a kill: nothing is left to do, and nothing is scanned."""
        build(self.config)
        compact_store(self.path)
        build(self.config)
        store = EmbeddingStore.open(self.path)
        assert not undone_index_items(self.config), self.seed
        index = open_index(store, "image", checksums=True)
        assert index.tail_rows == 0, self.seed
        kept = np.delete(np.arange(store.rows), sorted(self.gone))
        assert np.array_equal(store.gather("image", kept), self.image[kept]), self.seed
        self._check(index, store.rows, self.gone)

    def _check(self, index: HnswIndex, rows: int, gone: set[int]) -> None:
        found = index.search(self.queries, K, EF_SEARCH)[1]
        assert not np.isin(found, sorted(gone)).any(), self.seed
        kept = self.image[:rows].copy()
        kept[sorted(gone)] = -1  # below every other row
        recall = float((found == exact_ids(kept, self.queries, K)).mean())
        assert recall > LEAST_RECALL, (self.seed, recall)
        self.counts.answered += len(found)
        self.counts.worst = min(self.counts.worst, recall)

    def _run(self, function: object, *args: object, killed: bool) -> bool:
        """Run a change in a process of its own; returns whether it was killed before it had ended."""
        process = self.context.Process(target=function, args=args)  # type: ignore[arg-type]  # any function
        process.start()
        if killed:
            process.join(float(self.random.random()) * LONGEST)
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode in ((0, -signal.SIGKILL) if killed else (0,)), (self.seed, function, process.exitcode)
        return process.exitcode != 0


def _forget(path: str, rows: list[int]) -> None:
    forget_rows(EmbeddingStore.open(path), row_ids=rows)
