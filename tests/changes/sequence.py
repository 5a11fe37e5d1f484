"""Random changes of a store that is served meanwhile, every answer compared with an exact scan.

A store is embedded or adopted, grows, forgets, is compacted, indexed and indexed anew by processes of their own, as the
commands do it; rows are retrieved from it, and a service answers over HTTP all the time. Some changes are stopped
before one of their writes: then questions are asked, another writer tries, and the change goes on or is killed. Others
are killed at a random time. What was opened before a change must answer during it and after it, and what is opened
later must answer as an exact scan of the rows that are left, with each row's id meaning what it meant.

A sequence is drawn from its seed, each change with a seed of its own: without some of its changes it is a sequence too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index.graph.build import IndexConfig, undone_index_items
from index.graph.search_index import HnswIndex, open_index
from index.store.embedding_store import EmbeddingStore
from tests.changes import change_jobs
from tests.changes.answers import LEAST_NEAR, LEAST_RECALL, MANY, NEAR, Counts, Visible
from tests.changes.asking import Asker
from tests.changes.process import Outcome, Running, start
from tests.changes.selecting import Retrieved
from tests.changes.server import Server
from tests.changes.world import World, png

CHANGES = ("grow", "grow", "forget", "forget", "forget cluster", "compact", "compact", "index", "index", "new index",
           "retrieve", "retrieve", "restart")  # fmt: skip
# The writes of a change at most, about; a process that is to be stopped later ends before.
WRITES = {"grow": 40, "forget": 5, "forget cluster": 5, "compact": 70, "index": 40, "new index": 40, "retrieve": 25}
RIVALS = ("grow", "compact", "index")
LONGEST = 0.3  # seconds after which a process is killed, at most
LEAST_VISIBLE = 150  # rows


@dataclass(frozen=True)
class Change:
    """One change. stop: before which write; then: what follows ("kill", "go on", a rival). after: seconds to a kill."""

    number: int
    name: str
    seed: int
    stop: int | None = None
    then: str = "go on"
    after: float | None = None


def draw_changes(seed: int, count: int) -> list[Change]:
    """The changes of a sequence."""
    rng = np.random.default_rng([seed, 1])
    return [_draw(rng, number) for number in range(count)]


def _draw(rng: np.random.Generator, number: int) -> Change:
    name, seed, turn = str(rng.choice(CHANGES)), int(rng.integers(1 << 31)), rng.random()
    stop, after = int(rng.integers(1, WRITES.get(name, 1) + 1)), float(rng.random() * LONGEST)
    then = "kill" if turn < 0.25 else "go on" if turn < 0.35 else str(rng.choice(RIVALS))
    if name == "restart" or turn >= 0.6:
        return Change(number, name, seed)
    if turn >= 0.5:
        return Change(number, name, seed, after=after)
    return Change(number, name, seed, stop, then)


def run_sequence(folder: Path, seed: int, changes: Sequence[Change]) -> Counts:
    """Run a sequence in an empty folder; raises AssertionError at a wrong answer, or at recall below LEAST_RECALL."""
    sequence = _Sequence(folder, seed)
    try:
        for change in changes:
            sequence.run(change)
        sequence.finish()
    finally:
        sequence.server.kill()
    counts = sequence.counts
    counts.sequences, counts.lowest = 1, counts.mean_recall()[0]
    assert counts.lowest >= LEAST_RECALL, f"mean recall {counts.lowest:.4f} of {counts.queries} queries"
    near, queries = counts.mean_recall(NEAR)
    assert queries < MANY or near >= LEAST_NEAR, f"mean recall {near:.4f} of {queries} queries{NEAR}"
    return counts


def shorten(changes: Sequence[Change], fails: Callable[[Sequence[Change]], bool]) -> list[Change]:
    """The changes without those that a failure does not need; `fails` runs a sequence of some of them."""
    left = list(changes)
    for change in reversed(changes):
        without = [other for other in left if other is not change]
        if fails(without):
            left = without
    return left


class _Sequence:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.counts = folder, Counts()
        self.world = World(seed)
        self.asker = Asker(self.world, self.counts)
        rng = np.random.default_rng([seed, 2])
        self.path = str(folder / "store")
        self.source = self.path if self.world.kind == "adopted" else str(folder / "source")
        self.samples, self.source_parts = 0, 0  # in the source
        for rows in rng.multinomial(int(rng.integers(300, 700)), [1 / 3] * 3):
            self._add_samples(int(rows))
        self._must(change_jobs.grow, self.world, self.source, self.path)
        self.recipe: dict[str, Any] = {"shard_rows": int(rng.integers(130, 420)), "M": int(rng.integers(12, 33))}
        self._must(change_jobs.index_store, IndexConfig(self.path, queries=40, **self.recipe), "image")
        self.selections = [Retrieved.draw(self.world, folder / f"selection{number}", rng) for number in range(2)]
        self.server = Server(self.path, folder / "service.txt")

    def run(self, change: Change) -> None:
        """Make a change, with questions before, during and after it."""
        self.counts.count(change.name)
        rng = np.random.default_rng(change.seed)
        store = EmbeddingStore.open(self.path)
        old, before = open_index(store, "image"), self._state(store)
        if change.name == "restart":
            self.server.kill()
            self.server.start()
            self.asker.ask_service(rng, self.server, [before])
            return
        job = self._job(change.name, rng)
        if job is None:
            return
        running = start(*job.call, folder=self.folder, stop=change.stop)
        outcome = self._let_run(change, rng, running, job, old)
        again = outcome.what == "killed" and rng.random() < 0.5
        self._check_outcome(job, outcome)
        self._ask(rng, old, [self._state(store)])
        if again:
            self._check_outcome(job, start(*job.call, folder=self.folder).end())
        now = EmbeddingStore.open(self.path)
        self._settle(now, before, job)
        after = self._state(now)
        self.asker.ask_index(rng, open_index(now, "image"), [after])
        self.asker.ask_service(rng, self.server, [self._state(now, before.rows), after])
        self.server.wait_for_generation()
        self.asker.ask_service(rng, self.server, [after])
        for selection in self.selections:
            selection.check(after)

    def finish(self) -> None:
        """Grow, index and compact without a kill: nothing is left to do, and nothing is scanned."""
        rng = np.random.default_rng(self.world.seed)
        before = self._state(EmbeddingStore.open(self.path))
        config = IndexConfig(self.path, "image")
        self._must(change_jobs.grow, self.world, self.source, self.path)
        self._must(change_jobs.index_store, config, "image")
        self._must(change_jobs.compact, self.path)
        self._must(change_jobs.index_store, config, "image")
        assert not undone_index_items(config)
        store = EmbeddingStore.open(self.path)
        state = self._state(store)
        assert (state.rows, state.gone) == (self.samples, before.gone), "rows were lost, or forgotten ones came back"
        index = open_index(store, "image", checksums=True)
        assert index.tail_rows == 0
        kept = np.flatnonzero(state.mask())
        for modality in ("image", "text"):
            assert np.array_equal(store.gather(modality, kept), self.world.vectors(modality)[kept]), modality
        erased = [store.embeddings("image", part) for part in range(len(store.parts))]
        assert not np.concatenate(erased)[sorted(state.gone)].any(), "a forgotten vector is still in the files"
        self.asker.ask_index(rng, index, [state])
        self.server.wait_for_generation()
        self.asker.ask_service(rng, self.server, [state])
        assert "Traceback" not in self.server.log(), self.server.log()[-3000:]

    def _let_run(
        self, change: Change, rng: np.random.Generator, running: Running, job: _Job, old: HnswIndex
    ) -> Outcome:
        """Let a change run to its end, with what should happen meanwhile."""
        if change.after is not None:
            return running.kill(change.after)
        if change.stop is None or not running.stopped():
            return running.end()
        self.counts.stopped += 1
        now = EmbeddingStore.open(self.path)
        # The service may not have opened a growth yet.
        self._ask(rng, old, [self._state(now, old.store.rows), self._state(now)])
        self.asker.ask_index(rng, open_index(now, "image"), [self._state(now)])
        if change.then in RIVALS and not (change.then == "grow" and job.name == "grow"):
            self._rival(change.then, rng, running)
        if change.then == "kill":
            return running.kill()
        running.go_on()
        return running.end()

    def _rival(self, name: str, rng: np.random.Generator, running: Running) -> None:
        """Another writer while one is stopped: it is refused in one line if the first one holds the store."""
        held = self._holder() == running.pid
        job = self._job(name, rng, add=False)
        assert job is not None
        outcome = start(*job.call, folder=self.folder).end()
        # Between the lock and the lease file it does not say yet who holds the store.
        assert outcome.what in (("refused",) if held else ("done", "refused")), (name, outcome)
        if outcome.what == "refused":
            self.counts.refused += 1
            assert (outcome.error, outcome.line.count("\n")) == ("OutputExists", 0), outcome
            assert "another process is writing there" in outcome.line, outcome

    def _holder(self) -> int | None:
        """The process that holds the store's lease."""
        try:
            return int(json.loads((Path(self.path) / ".writer.json").read_text())["pid"])
        except (FileNotFoundError, ValueError):
            return None

    def _ask(self, rng: np.random.Generator, old: HnswIndex, states: list[Visible]) -> None:
        self.asker.ask_index(rng, old, states)
        latest = self._state(EmbeddingStore.open(self.path))
        self.asker.ask_service(rng, self.server, [*states, latest])

    def _state(self, store: EmbeddingStore, rows: int | None = None) -> Visible:
        return Visible(self.world, store.rows if rows is None else rows, frozenset(store.forgotten.tolist()))

    def _settle(self, now: EmbeddingStore, before: Visible, job: _Job) -> None:
        """The store is as it was, or as the change makes it; what was forgotten stays so."""
        forgotten = frozenset(now.forgotten.tolist())
        assert forgotten - before.gone in (frozenset(), job.forgets - before.gone), "only a part was forgotten"
        assert before.gone <= forgotten, "a forgotten row came back"
        assert before.rows <= now.rows <= self.samples, (before.rows, now.rows, self.samples)

    def _check_outcome(self, job: _Job, outcome: Outcome) -> None:
        store = EmbeddingStore.open(self.path)
        if outcome.what == "killed":
            self.counts.killed += 1
            return
        if outcome.what == "refused":
            # By a rival that was quicker, or since the store has grown under an unfinished or finished selection.
            assert (outcome.error, outcome.line.count("\n")) == ("OutputExists", 0), outcome
            if job.selection is not None:
                assert job.selection.parts not in (None, len(store.parts)), outcome
                job.selection.drop()
            return
        assert outcome.what == "done", f"{job.name}: {outcome.error} {outcome.line}"
        if job.forgets:
            assert job.forgets <= set(store.forgotten.tolist()), "what was to be forgotten was not"
        if job.name == "grow":
            assert store.rows == self.samples, (store.rows, self.samples)
        if job.selection is not None:
            job.selection.check_files(self._state(store))
            job.selection.check(self._state(store))

    def _job(self, name: str, rng: np.random.Generator, add: bool = True) -> _Job | None:
        store = EmbeddingStore.open(self.path)
        if name == "grow":
            if add and store.rows == self.samples and self.samples < self.world.most - 250:
                self._add_samples(int(rng.integers(1, 250)))
            return _Job(name, (change_jobs.grow, self.world, self.source, self.path))
        if name.startswith("forget"):
            return self._forget(name, rng, store)
        if name == "compact":
            return _Job(name, (change_jobs.compact, self.path))
        if name == "retrieve":
            selection = self.selections[int(rng.integers(2))]
            if selection.parts is None:
                selection.parts = len(store.parts)
            path, names, options = str(selection.path), selection.names, selection.options
            return _Job(name, (change_jobs.select, self.world, self.path, path, names, options), selection=selection)
        recipe: dict[str, Any] = {}
        if name == "new index":
            recipe = {"M": int(rng.integers(10, 33)), "codec": str(rng.choice(["fp16", "sq8"]))}
            recipe["shard_rows"] = int(rng.integers(130, 420))
            recipe["layout"] = str(rng.choice(["rows", "meaning"]))
        modality = str(rng.choice(["image", "image", "both"]))
        return _Job(name, (change_jobs.index_store, IndexConfig(self.path, **recipe), modality))

    def _forget(self, name: str, rng: np.random.Generator, store: EmbeddingStore) -> _Job | None:
        visible = np.flatnonzero(self._state(store).mask())
        if name == "forget cluster":
            rows = visible[self.world.cluster[visible] == rng.choice(self.world.cluster[visible])]
        else:
            rows = rng.choice(visible, min(len(visible), int(rng.integers(1, 40))), replace=False)
        if len(visible) - len(rows) < LEAST_VISIBLE:
            return None
        by = str(rng.choice(["row_ids", "keys", "urls", "sha256"]))
        known = [self.world.metadata(row) for row in rows.tolist()]
        given: list[Any] = {
            "row_ids": rows.tolist(),
            "keys": [row["key"] for row in known],
            "urls": [row["url"] for row in known],
            "sha256": [hashlib.sha256(png(row)).hexdigest() for row in rows.tolist()],
        }[by]
        return _Job(name, (change_jobs.forget, self.path, {by: given}), frozenset(rows.tolist()))

    def _add_samples(self, rows: int) -> None:
        folder = Path(self.source)
        self.world.add_samples(folder, self.source_parts, self.samples, self.samples + rows)
        self.samples += rows
        self.source_parts += 1

    def _must(self, *call: Any) -> None:
        outcome = start(*call, folder=self.folder).end()
        assert outcome.what == "done", f"{call[0].__name__}: {outcome.error} {outcome.line}"


@dataclass(frozen=True)
class _Job:
    """A call to be made in a process. forgets: the rows that it forgets."""

    name: str
    call: tuple[Any, ...]
    forgets: frozenset[int] = frozenset()
    selection: Retrieved | None = None
