"""Starting the service on Ray: the port is checked before Ray starts, and it stops when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading

import httpx
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.start import _stopped_by_sigterm, _wait_for_answer, run_serve_ray
from retrieval.service.settings import Settings
from tests.jobs.running import clipmine_command, heed_ctrl_c


def test_a_port_that_is_taken_is_said_before_ray_starts(sharded_store: EmbeddingStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"127\.0\.0\.1:{port}: cannot be listened on .*choose another --port"):
            run_serve_ray(sharded_store, Settings(), "127.0.0.1", port)


def test_a_cluster_needs_a_port_that_is_named(sharded_store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(BadInput, match=r"--port 0: .*choose a --port"):
        run_serve_ray(sharded_store, Settings(), "127.0.0.1", 0)


def test_a_proxy_that_does_not_answer_is_said_and_can_be_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jobs.serve_ray.start.NOTICE_SECONDS", 0.2)
    monkeypatch.setattr("jobs.serve_ray.start.ANSWER_SECONDS", 60)
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(KeyboardInterrupt), _stopped_by_sigterm():
        _wait_for_answer("127.0.0.1", 1)
    assert capsys.readouterr().err.count("waits for Ray Serve's proxy at http://127.0.0.1:1 ") == 1


def test_the_command_serves_from_a_ray_of_its_own_until_it_is_told_to_stop(sharded_store: EmbeddingStore) -> None:
    options = ["--executor", "ray", "--shard-groups", 1, "--shard-replicas", "1-2", "--port", 0]
    command = clipmine_command("serve", sharded_store.path, *options)
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=heed_ctrl_c
    ) as server:
        assert server.stderr is not None
        said: list[str] = []
        try:
            for line in server.stderr:
                said.append(line)
                if line.startswith("serving "):
                    break
            assert "from Ray: encoders 1, groups of shards 1 x 1-2" in said[-1], said
            url = said[-1].split(" at ")[1].split()[0]
            answer = httpx.post(f"{url}/search", json={"queries": [{"row_id": 3}], "k": 2}, timeout=60)
            assert len(answer.raise_for_status().json()["results"][0]["rows"]) == 2
            server.send_signal(signal.SIGTERM)
            assert server.stderr.readline().startswith("stopping, ")
            assert server.wait(120) == 0
        finally:
            server.kill()
