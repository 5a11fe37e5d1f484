"""Starting the service on Ray: the port is checked before Ray starts, and it stops when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import httpx
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.start import run_serve_ray
from retrieval.service.settings import Settings
from tests.jobs.running import clipmine_command, heed_ctrl_c


def test_a_port_that_is_taken_is_said_before_ray_starts(sharded_store: EmbeddingStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=rf"127\.0\.0\.1:{port}: cannot be listened on .*choose another --port"):
            run_serve_ray(sharded_store, Settings(), "127.0.0.1", port)


def test_the_command_serves_from_a_ray_of_its_own_until_it_is_told_to_stop(sharded_store: EmbeddingStore) -> None:
    command = clipmine_command("serve", sharded_store.path, "--executor", "ray", "--shard-groups", 1, "--port", 0)
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
            assert "from Ray: encoders 1, groups of shards 1 x 1" in said[-1], said
            url = said[-1].split(" at ")[1].split()[0]
            answer = httpx.post(f"{url}/search", json={"queries": [{"row_id": 3}], "k": 2}, timeout=60)
            assert len(answer.raise_for_status().json()["results"][0]["rows"]) == 2
            server.send_signal(signal.SIGTERM)
            assert server.wait(120) == 0
        finally:
            server.kill()
