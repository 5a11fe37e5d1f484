"""Deploying: what replicas wait for is said, Ctrl-C and SIGTERM end it at any time, replicas that fail are named."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from index.errors import BadInput, ClipmineError
from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.app import ServeArgs, build
from jobs.serve_ray.deploy import check_address, delete, deploy, find_application
from jobs.serve_ray.start import APP, start
from tests.jobs.running import heed_ctrl_c
from tests.jobs.serve_ray.asking import search

ROOT = Path(__file__).parents[3]
CPUS = {"encoder_cpus": 0.05, "shard_cpus": 0.05, "front_cpus": 0.05}

# Serves twice on the same Ray, as on a cluster that has two cores, until a signal ends it each time.
SERVE_TWICE = """
import os, socket, sys, time
from jobs.executors.on_ray import start_ray
start_ray(object_store_memory=80 * 2**20)
import ray
import jobs.serve_ray.deploy as deploy
from jobs.serve_ray.start import APP, run_serve_ray
from retrieval.service.settings import Settings
os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
deploy.NOTICE_SECONDS = 0.5
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
for _ in range(2):
    try:
        run_serve_ray(sys.argv[1], Settings(), "127.0.0.1", port, encoder_replicas=(9, 20), shard_groups=1)
    except KeyboardInterrupt:
        pass
    deadline = time.monotonic() + 60  # Ray counts cores that are given back a moment later
    while (free := ray.available_resources().get("CPU")) != ray.cluster_resources()["CPU"]:
        assert time.monotonic() < deadline, f"cores free: {free}"
        time.sleep(0.1)
    print("stopped; application:", deploy.find_application(APP), file=sys.stderr, flush=True)
"""


@pytest.mark.timeout(200)
def test_a_service_without_a_place_says_what_it_waits_for_until_a_signal_ends_it(sharded_store: EmbeddingStore) -> None:
    command = [sys.executable, "-c", SERVE_TWICE, str(sharded_store.path)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment["PYTHONPATH"] = str(ROOT)
    signals, said = [signal.SIGTERM, signal.SIGINT], []
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heed_ctrl_c
    ) as server:
        assert server.stderr is not None
        try:
            for line in server.stderr:
                said.append(line)
                if line.startswith("serve: ") and signals:
                    assert "waits for a place for encoders (9 replicas, each with 1 free core)" in line
                    assert "shards-0 (1 replica with 1 free core)" in line
                    assert "; the cluster has 1 node with " in line
                    server.send_signal(signals.pop(0))
                elif line.startswith("stopped"):
                    assert line == "stopped; application: None\n"
            assert server.wait(60) == 0, said
        finally:
            server.kill()
    assert not signals
    assert sum(line.startswith("stopped") for line in said) == 2


def test_a_replica_that_cannot_open_its_shard_is_named_at_once(
    url: str, sharded_store: EmbeddingStore, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(sharded_store.path, tmp_path / "store"))
    for shard in (store / "index" / "image").glob("*.faiss"):
        shard.write_bytes(bytes(shard.stat().st_size))
    application = build(ServeArgs(store=str(store), shard_groups=1, **CPUS))
    with pytest.raises(ClipmineError, match=rf"^shards-0: a replica did not start on Ray: {store}.*\.faiss") as raised:
        deploy(application, "broken", "/broken")
    assert "\n" not in str(raised.value)
    assert find_application("broken") is None


def test_a_range_of_replicas_answers_and_grows_under_load(url: str, sharded_store: EmbeddingStore) -> None:
    soon = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 0.5, "upscale_delay_s": 0}
    args = ServeArgs(store=str(sharded_store.path), shard_groups=1, encoder_autoscaling_config=soon, **CPUS)
    deploy(build(args), "growing", "/growing")
    try:
        deadline = time.monotonic() + 60
        with ThreadPoolExecutor(4) as pool:
            while _asked_for("encoders") < 2:
                assert time.monotonic() < deadline, "no more replicas were asked for"
                answers = list(pool.map(lambda _: search(f"{url}/growing"), range(16)))
                assert {answer.status_code for answer in answers} == {200}
        assert _asked_for("shards-0") == 1
    finally:
        delete("growing")


def _asked_for(deployment: str) -> int:
    found = find_application("growing")
    assert found is not None
    return found.deployments[deployment].target_num_replicas


def test_a_serve_that_listens_elsewhere_is_said_at_once(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    check_address(host, int(port))
    with pytest.raises(BadInput, match=rf"runs on this cluster already and listens on {url.removeprefix('http://')}, "):
        check_address(host, 1)


def test_a_second_service_on_a_cluster_is_refused_and_the_first_goes_on(
    url: str, sharded_store: EmbeddingStore
) -> None:
    host, port = url.removeprefix("http://").split(":")
    with pytest.raises(BadInput, match=rf"this cluster serves a store already, as its application {APP}: stop that"):
        start(ServeArgs(store=str(sharded_store.path)), host, int(port))
    there = find_application(APP)
    assert there is not None
    assert there.status == "RUNNING"
    assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200
