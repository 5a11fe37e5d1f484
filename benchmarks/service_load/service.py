"""The service as a process, started as a user starts it; the process ids and memory of its replicas."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.service_load.expected import GROUPS, Question
from index.store.embedding_store import EmbeddingStore


@contextmanager
def running(store: EmbeddingStore, replicas: int, seconds: float) -> Iterator[tuple[str, int]]:
    """Start the service as a user does; yields its URL and process id once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    tool = str(Path(sys.executable).parent / "clipmine")
    options = ["--host", "127.0.0.1", "--port", str(port), "--shard-groups", str(GROUPS)]
    command = [tool, "serve", str(store.path), "--executor", "ray", *options, "--shard-replicas", str(replicas)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    service = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + seconds
        while not is_ready(url):
            if service.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the service did not start within {seconds:g} s")
            time.sleep(0.5)
        yield url, service.pid
    finally:
        service.terminate()
        try:
            service.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(service.pid, signal.SIGKILL)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def whole_again(url: str, question: Question) -> float | None:
    """Seconds until an answer is complete; None when that takes more than two minutes."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < 120:
        response = httpx.post(f"{url}/search", json=question.body, timeout=60)
        if response.status_code == 200 and not response.json()["partial"]:
            return round(passed, 1)
        time.sleep(0.2)
    return None


def pids(service: int, deployment: str) -> list[int]:
    """Process ids of a deployment's replicas among the descendants of the service's process."""
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                titles[int(entry.name)] = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # the process has ended
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = []
    for pid, title in titles.items():
        # While a replica's constructor runs, its title ends in .initialize_and_get_metadata.
        if title.startswith(f"ray::ServeReplica:clipmine:{deployment}".encode()) and b".initialize" not in title:
            above = pid
            while above > 1 and above != service:
                above = parents.get(above, 0)
            if above == service:
                found.append(pid)
    return sorted(found)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
