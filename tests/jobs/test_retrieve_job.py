"""Retrieval on executors: the selection of one process, also after a killed worker or a killed driver."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import jobs.retrieve_job
import retrieval.shared_search
from index.errors import BadInput, OutputExists
from index.store.embedding_store import EmbeddingStore
from jobs.executors.execute import execute
from jobs.retrieve_job import run_retrieve
from retrieval import Selection, retrieve
from retrieval.shared_search import search_item
from tests.jobs.running import clipmine_command
from tests.retrieval.shared_worlds import CONCEPTS, shared_world

CHOICES: dict[str, Any] = {"templates": "simple", "k": 20, "block_queries": 7, "method": "hnsw"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_clip_dir: Path) -> EmbeddingStore:
    return shared_world(tmp_path_factory.mktemp("shared"), tiny_clip_dir)


@pytest.fixture(autouse=True)
def small_ranges() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval.shared_search, "SCAN_ROWS", 256)
        yield


@pytest.fixture(scope="module")
def expected(world: EmbeddingStore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The selections of a search in one process: by graph and by scan."""
    found = {method: tmp_path_factory.mktemp("expected") / method for method in ("hnsw", "exact")}
    for method, folder in found.items():
        retrieve(world, CONCEPTS, out=folder, **{**CHOICES, "method": method})
    return found


def same(folder: Path, expected: Path) -> None:
    """Files, rows, ranks and counts are those expected; scores within what other threads of a text tower change."""
    names = [{str(file.relative_to(each)) for file in each.rglob("*") if file.is_file()} for each in (folder, expected)]
    assert names[0] == names[1]
    own, other = Selection.open(folder), Selection.open(expected)
    assert (own.rows, own.hits, own.losses, own.counts) == (other.rows, other.hits, other.losses, other.counts)
    assert own.hits == own.rows + sum(own.losses.values())
    tables = own.table(), other.table()
    assert tables[0].drop_columns("score").equals(tables[1].drop_columns("score"))
    assert tables[0]["score"].to_pylist() == pytest.approx(tables[1]["score"].to_pylist(), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "method"), [("local", "hnsw"), ("local", "exact"), ("ray", "hnsw"), ("spark", "exact")]
)
def test_all_executors_write_the_selection_of_one_process(
    name: str,
    method: str,
    world: EmbeddingStore,
    expected: dict[str, Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if name != "local":
        request.getfixturevalue(f"{name}_up")
    workers = 2 if name == "spark" else 1  # locally this process; two on Ray search in the test of a dead worker
    choices = {**CHOICES, "method": method}
    run_retrieve(world.path, CONCEPTS, out=tmp_path / "out", executor=name, workers=workers, **choices)
    same(tmp_path / "out", expected[method])


@dataclass(frozen=True)
class Dying:
    """A search, and a file that says that a worker has died of it."""

    search: Any
    marker: str


def die_once(item: Any, dying: Dying) -> None:
    """Search a group, after the first worker that tries was killed."""
    try:
        Path(dying.marker).touch(exist_ok=False)
    except FileExistsError:
        search_item(item, dying.search)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("name", ["local", "ray"])
def test_the_group_of_a_dead_worker_is_searched_by_another(
    name: str,
    world: EmbeddingStore,
    expected: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    if name == "ray":
        request.getfixturevalue("ray_up")

    def with_a_death(executor: str, function: Any, items: Any, config: Any, **choices: Any) -> list[Any]:
        if function is not search_item:  # the other stages run here, which starts no workers
            return execute("local", function, items, config, **{**choices, "workers": 1})
        return execute(executor, die_once, items, Dying(config, str(tmp_path / "died")), **choices)

    monkeypatch.setattr(jobs.retrieve_job, "execute", with_a_death)
    run_retrieve(world.path, CONCEPTS, out=tmp_path / "out", executor=name, workers=2, **CHOICES)
    assert (tmp_path / "died").exists()
    same(tmp_path / "out", expected["hnsw"])


@pytest.mark.parametrize("moment", ["queries/00000.npz", "found/00000", "done_00000.json"])
def test_a_driver_that_is_killed_goes_on_and_ends_with_the_same_selection(
    world: EmbeddingStore, tmp_path: Path, moment: str
) -> None:
    concepts = tmp_path / "concepts.txt"
    concepts.write_text("\n".join(CONCEPTS))
    chosen = ["--concepts", concepts, "-k", 20, "--method", "hnsw", "--workers", 1, "--out", tmp_path / "out"]
    process = subprocess.Popen(
        clipmine_command("retrieve", world.path, *chosen), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    reached, deadline = tmp_path / "out" / "work" / moment, time.monotonic() + 60
    while not reached.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    choices = {name: value for name, value in CHOICES.items() if name != "block_queries"} | {"templates": ("simple",)}
    run_retrieve(world.path, concepts, out=tmp_path / "out", workers=1, **choices)
    retrieve(world, concepts, out=tmp_path / "plain", **choices)
    same(tmp_path / "out", tmp_path / "plain")


def test_a_finished_selection_is_opened_and_another_configuration_refused(
    world: EmbeddingStore, expected: dict[str, Path], tmp_path: Path
) -> None:
    first = run_retrieve(world.path, CONCEPTS, out=tmp_path / "out", **CHOICES)
    again = run_retrieve(world.path, CONCEPTS, out=tmp_path / "out", workers=2, **CHOICES)
    assert again.table().equals(first.table())
    with pytest.raises(OutputExists, match="other k"):
        run_retrieve(world.path, CONCEPTS, out=tmp_path / "out", workers=2, **{**CHOICES, "k": 3})


def test_bad_input_is_refused_before_the_folder_is_made(world: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="k 2000: larger than the store"):
        run_retrieve(world.path, CONCEPTS, out=tmp_path / "out", workers=2, **{**CHOICES, "k": 2_000})
    with pytest.raises(BadInput, match="unknown executor 'slurm'"):
        run_retrieve(world.path, CONCEPTS, out=tmp_path / "out", executor="slurm", **CHOICES)
    assert not (tmp_path / "out").exists()
