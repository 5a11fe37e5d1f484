"""The pool on a real cluster of several nodes: sizes, a head without cores, nodes that are lost or join, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.running import heed_ctrl_c

ROOT = Path(__file__).parents[3]

# Visits items, a worker with one thread; argv: items, seconds each, folder of the marks.
DRIVER = """
import json, sys
from jobs.executors import ray_pool
from jobs.executors.execute import execute
from tests.jobs.executors.slow_items import Place, Slow, visit
ray_pool.NOTICE_SECONDS, ray_pool.LOOK_SECONDS = 1.0, 0.2
count, seconds, folder = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
items, place = [Slow(each) for each in range(count)], Place(seconds, folder)
gpu = "required" if "gpu" in sys.argv else False
places = execute("ray", visit, items, place, threads=1, gpu=gpu, shared=None, label="visit")
print(json.dumps(places))
"""


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without cores, as KubeRay starts it; tests add nodes."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        made = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20, "include_dashboard": False},
        )
        yield made
        made.shutdown()  # type: ignore[no-untyped-call]


def add_node(cluster: Any, cores: int) -> Any:
    return cluster.add_node(num_cpus=cores, object_store_memory=80 * 2**20)


def start(cluster: Any, items: int, seconds: float, folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start the driver in a process of its own."""
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(items), str(seconds), str(folder), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=heed_ctrl_c,
    )


def result(driver: subprocess.Popen[str], *, lost: bool = False) -> list[list[Any]]:
    """What the driver prints: of each item the process and the node. lost: Ray may tell of a node that is gone."""
    out, errors = driver.communicate(timeout=120)
    assert driver.returncode == 0, errors
    assert lost or [line for line in errors.splitlines() if not line.startswith("visit: ")] == []
    found: list[list[Any]] = json.loads(next(line for line in out.splitlines() if line.startswith("[[")))
    return found


def wait_for(folder: Path, marks: int) -> None:
    end = time.monotonic() + 60
    while len(list(folder.iterdir())) < marks:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.timeout(240)
def test_nodes_of_several_sizes_are_filled_and_a_lost_one_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    add_node(cluster, 2)
    lost = add_node(cluster, 1)
    cluster.wait_for_nodes()
    driver = start(cluster, 24, 0.5, tmp_path)
    wait_for(tmp_path, 7)  # on three actors by now
    cluster.remove_node(lost, allow_graceful=False)
    places = result(driver, lost=True)
    assert [place[0] for place in places] == [each**2 for each in range(24)]
    nodes = [place[2] for place in places]
    assert len(set(nodes)) == 2
    assert nodes[-1] in set(nodes[:7])  # the node that is left did the rest
    assert len({place[1] for place in places if place[2] == nodes[-1]}) == 2


@pytest.mark.timeout(240)
def test_a_job_waits_for_a_node_says_so_and_follows_those_that_join(cluster: Any, tmp_path: Path) -> None:
    driver = start(cluster, 16, 0.5, tmp_path)
    assert driver.stderr is not None
    said = next(line for line in driver.stderr if "waits for" in line)
    assert said == "visit: waits for a node with 1 free core; the cluster has 1 node with 0 cores (Ctrl-C stops)\n"
    add_node(cluster, 1)
    wait_for(tmp_path, 1)
    add_node(cluster, 1)
    assert len({place[2] for place in result(driver)}) == 2


@pytest.mark.timeout(240)
def test_work_that_must_have_a_gpu_waits_for_one_and_gets_its_share_of_the_cores(cluster: Any, tmp_path: Path) -> None:
    add_node(cluster, 2)
    driver = start(cluster, 2, 0.1, tmp_path, "gpu")
    assert driver.stderr is not None
    said = next(line for line in driver.stderr if "waits for" in line)
    assert said.startswith("visit: waits for a node with a GPU; the cluster has 1 node with 2 cores, ")
    assert not list(tmp_path.iterdir())
    place = cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=80 * 2**20)
    assert {found[2] for found in result(driver)} == {place.node_id}


@pytest.mark.timeout(240)
def test_ctrl_c_stops_a_job_that_waits_and_one_that_works_and_frees_the_cores(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    waiting = start(cluster, 4, 0.1, tmp_path / "first")
    assert waiting.stderr is not None
    next(line for line in waiting.stderr if "waits for" in line)
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=30)
    assert waiting.returncode != 0
    add_node(cluster, 1)
    (tmp_path / "second").mkdir()
    working = start(cluster, 1_000, 0.1, tmp_path / "second")
    wait_for(tmp_path / "second", 3)
    working.send_signal(signal.SIGINT)
    working.communicate(timeout=30)
    assert working.returncode != 0
    done = len(list((tmp_path / "second").iterdir()))
    (tmp_path / "third").mkdir()
    assert len(result(start(cluster, 2, 0.1, tmp_path / "third"))) == 2  # the only core is free again
    assert len(list((tmp_path / "second").iterdir())) <= done + 1
