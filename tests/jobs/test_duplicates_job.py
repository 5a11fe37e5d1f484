"""The near-duplicates job: every executor writes the same bytes, also after a killed worker or driver."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import index.duplicates.segments
import jobs.duplicates_job
from index.duplicates.groups_manifest import groups_folder
from index.duplicates.segments import DuplicatesConfig, search_segment
from index.errors import BadInput, OutputExists
from index.lease import only_writer
from index.store.embedding_store import EmbeddingStore
from jobs.duplicates_job import run_duplicates
from jobs.executors.execute import execute
from tests.index.duplicates.test_segments import find_groups
from tests.index.duplicates.worlds import with_copies
from tests.index.vectors import vector_store
from tests.jobs.running import clipmine_command

VECTORS = with_copies(500, 100)


def files(store: EmbeddingStore) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in groups_folder(store).iterdir()}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddingStore:
    monkeypatch.setattr(index.duplicates.segments, "_LEAST_ROWS", 200)
    return vector_store(tmp_path / "store", VECTORS)


@pytest.fixture
def expected(store: EmbeddingStore, tmp_path: Path) -> dict[str, bytes]:
    plain = vector_store(tmp_path / "plain", VECTORS)
    find_groups(DuplicatesConfig(str(plain.path)))
    return files(plain)


def test_all_executors_write_the_bytes_of_one_process(
    store: EmbeddingStore, expected: dict[str, bytes], executor: str
) -> None:
    summary = run_duplicates(
        DuplicatesConfig(str(store.path)), executor=executor, workers=1 if executor == "local" else 2
    )
    assert summary.searched == 500
    assert len([name for name in expected if name.endswith(".edges.npy")]) == 3
    assert files(store) == expected


@dataclass(frozen=True)
class Dying:
    """A job, and a file that says that a worker has died of it."""

    config: DuplicatesConfig
    marker: str


def die_once(item: Any, dying: Dying) -> None:
    """Search a segment, after the first worker that tries was killed."""
    try:
        Path(dying.marker).touch(exist_ok=False)
    except FileExistsError:
        search_segment(item, dying.config)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_segment_of_a_dead_worker_is_searched_by_another(
    store: EmbeddingStore,
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ray_up: None,
) -> None:
    def with_a_death(executor: str, function: Any, items: Any, config: Any, **choices: Any) -> list[Any]:
        return execute(executor, die_once, items, Dying(config, str(tmp_path / "died")), **choices)

    monkeypatch.setattr(jobs.duplicates_job, "execute", with_a_death)
    run_duplicates(DuplicatesConfig(str(store.path)), executor="ray", workers=2)
    assert (tmp_path / "died").exists()
    assert files(store) == expected


def test_a_driver_that_is_killed_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    vectors = with_copies(20_000, 4_000, dim=64)
    store, plain = (vector_store(tmp_path / name, vectors) for name in ("store", "plain"))
    process = subprocess.Popen(
        clipmine_command("duplicates", store.path, "--workers", 1),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list(store.path.glob("near_duplicates/[0-9a-f]*.edges.npy")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for each in (store, plain):
        run_duplicates(DuplicatesConfig(str(each.path)), workers=1)
    assert files(store) == files(plain)


def test_bad_input_is_refused_and_another_writer_is_waited_for(store: EmbeddingStore) -> None:
    config = DuplicatesConfig(str(store.path))
    with pytest.raises(BadInput, match="unknown executor 'slurm'"):
        run_duplicates(config, executor="slurm")
    with only_writer(str(store.path)), pytest.raises(OutputExists, match="clipmine duplicates"):
        run_duplicates(config)
