"""Builds of one store on Ray and on Spark, and builds that are killed, compared byte by byte.

Each build is `clipmine index` in a process of its own. It starts with the same old index, of the store before it grew,
which is asked all the while; rows that it lacks are compared one by one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from index.graph.search_index import open_index
from index.store.embedding_store import EmbeddingStore

__all__ = ["Builds"]

_QUERIES, _K = 20, 10
_PAUSE = 2.0  # seconds between two questions to the index


@dataclass
class Watch:
    """Answers of the store's index while a build runs: each is the old index's answer, or that of the new one."""

    store: Path
    old: Any
    asked: int = 0
    of_old: int = 0
    wrong: int = 0
    errors: list[str] = field(default_factory=list)
    new: Any = None

    def ask(self) -> None:
        """Open the index that the store has now and compare its answer."""
        self.asked += 1
        try:
            found = answer(self.store)
        except Exception as error:
            self.errors.append(repr(error))
            return
        if same(found, self.old):
            self.of_old += 1
            self.wrong += self.new is not None  # the old index has come back
        elif self.new is None:
            self.new = found
        else:
            self.wrong += not same(found, self.new)

    def counts(self) -> dict[str, Any]:
        """Figures by name."""
        return {"asked": self.asked, "of old": self.of_old, "wrong": self.wrong, "errors": self.errors}


def answer(store: Path) -> tuple[Any, Any]:
    """Scores and row ids [q, k] of a few rows by the index that the store has."""
    opened = EmbeddingStore.open(store)
    queries = opened.gather("image", list(range(0, opened.rows, opened.rows // _QUERIES)))
    return open_index(opened, "image").search(queries, _K)


def same(one: Any, other: Any) -> bool:
    """Whether two answers name the same rows."""
    return bool(np.array_equal(one[1], other[1]))


class Builds:
    """Builds of the store at `store`, each from the old index that `begin` makes; `recipe`: options of `clipmine`."""

    def __init__(self, store: Path, recipe: list[str]) -> None:
        self.store, self.recipe = store, recipe
        self.kept = store.parent / "old_index"
        self.old: Any = None

    def begin(self) -> float:
        """Index the store as it is and keep a copy, so that the store may grow; returns seconds."""
        started = time.monotonic()
        if not self.kept.exists():
            run(self._command("local", ["--codec", "rabitq", "--modality", "image"]), {})
            partial = self.kept.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(self.store / "index", partial)
            partial.rename(self.kept)
        return time.monotonic() - started

    def build(self, executor: str, environment: dict[str, str], kill: Any = None) -> dict[str, Any]:
        """Build on an executor and return what happened, and the checksum of each file of the index.

        kill: called with the process when a first shard is built and the next ones are being built; then the same
        command is run again until it succeeds.
        """
        self._start_over()
        self.old = answer(self.store)
        command = self._command(executor, self.recipe)
        started, killed, runs = time.monotonic(), False, 0
        with self._watched() as watch:
            while True:
                runs += 1
                job = subprocess.Popen(command, env={**os.environ, **environment}, **_quiet())
                if kill is not None and not killed:
                    built = self._wait_for_a_shard(job)
                    time.sleep(1.0)  # the next shards are being built
                    kill(job)
                    killed = True
                if job.wait() == 0:
                    break
                if runs == 3:
                    raise RuntimeError(f"{' '.join(command)} ends with {job.returncode}")
        found: dict[str, Any] = {"seconds": time.monotonic() - started, "runs": runs, **watch.counts()}
        found["files"] = checksums(self.store / "index" / "image")
        if kill is not None:
            found["shards at the kill"] = built
            if runs == 1:  # the job lived on; run again it finds nothing to do
                run(command, environment)
                assert checksums(self.store / "index" / "image") == found["files"]
        return found

    def _start_over(self) -> None:
        shutil.rmtree(self.store / "index", ignore_errors=True)
        shutil.copytree(self.kept, self.store / "index")

    def _command(self, executor: str, recipe: list[str]) -> list[str]:
        own = [sys.executable, "-m", "jobs.cli", "index", str(self.store), "--executor", executor, *recipe]
        return own if executor == "local" else [*own, "--workers", "2"]

    def _wait_for_a_shard(self, job: subprocess.Popen[bytes]) -> int:
        folder = self.store / "index" / "image"
        old = set(folder.iterdir())
        while job.poll() is None:
            built = [file for file in set(folder.iterdir()) - old if re.fullmatch(r"[0-9a-f]{16}\.json", file.name)]
            if built:
                return len(built)
            time.sleep(0.05)
        return 0

    @contextmanager
    def _watched(self) -> Iterator[Watch]:
        watch, ended = Watch(self.store, self.old), threading.Event()

        def look() -> None:
            while not ended.wait(_PAUSE):
                watch.ask()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield watch
        finally:
            ended.set()
            thread.join()


def run(command: list[str], environment: dict[str, str]) -> None:
    """Run a command to its end; raises CalledProcessError where it fails."""
    subprocess.run(command, check=True, env={**os.environ, **environment}, **_quiet())


def _quiet() -> dict[str, Any]:
    return {"stdout": subprocess.DEVNULL, "stderr": None if "SHOW" in os.environ else subprocess.DEVNULL}


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an index."""
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir()) if file.is_file()
    }


@contextmanager
def ray_cluster() -> Iterator[tuple[dict[str, str], Any]]:
    """A Ray of a head without cores and two nodes with a core each: its environment, and a function that kills a node.

    The function takes the job, which it leaves alone, so that `Builds.build` can call it.
    """
    from ray.cluster_utils import Cluster

    # Ray gives its workers niceness 15, which starves them beside other programs.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # Ray reads it so
    own = {"object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **own})
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20) for _ in range(2)]
        cluster.wait_for_nodes()

        def kill_node(_: subprocess.Popen[bytes]) -> None:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)

        yield {"RAY_ADDRESS": cluster.address}, kill_node
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


def kill_driver(job: subprocess.Popen[bytes]) -> None:
    """SIGKILL, as by `kill -9`, to the driver only."""
    job.send_signal(signal.SIGKILL)
