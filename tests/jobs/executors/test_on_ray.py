"""The Ray executor joins the cluster that the command names or its own, whatever other clusters are on the machine."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private.utils import check_version_info

from index.errors import BadInput
from jobs.executors.on_ray import start_ray

ROOT = Path(__file__).parents[3]
PACKAGES = ("index", "retrieval", "customize", "mining", "jobs", "scenes")

# Prints the address of the Ray that a job here uses.
WHERE = """
from jobs.executors.on_ray import start_ray
start_ray(object_store_memory=80 * 2**20)
import ray
print("address:", ray.get_runtime_context().gcs_address)
"""


TOKEN = "0123456789abcdef" * 4
JOIN = """
from index.errors import BadInput
from jobs.executors.on_ray import start_ray
try:
    start_ray()
    print("joined")
except BadInput as error:
    print(error)
"""


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A folder where Ray looks for a cluster's address, apart from the machine's own. Short: it holds sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    (folder / "ray").mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def address_used(ray_folder: Path, left_behind: str) -> str:
    """Where a job's Ray is when another cluster has left its address on the machine."""
    (ray_folder / "ray" / "ray_current_cluster").write_text(left_behind)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_TMPDIR": str(ray_folder), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WHERE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("address: ")[2].strip()


def test_a_dead_cluster_that_left_its_address_is_not_joined(ray_folder: Path) -> None:
    assert address_used(ray_folder, "127.0.0.1:1") != "127.0.0.1:1"


def test_another_users_living_cluster_is_not_joined(ray_up: None, ray_folder: Path) -> None:
    import ray

    foreign = ray.get_runtime_context().gcs_address
    assert address_used(ray_folder, foreign) not in ("", foreign)


@pytest.mark.timeout(100)  # Ray itself would try for minutes
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_answers_is_said_at_once(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", f"{scheme}127.0.0.1:1")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(BadInput, match=r"RAY_ADDRESS .*127\.0\.0\.1:1: no Ray cluster answers there"):
        start_ray()


@pytest.fixture
def cluster_with_token(ray_folder: Path) -> Iterator[str]:
    """The address of a Ray that admits nobody without its token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--port={port}", "--num-cpus=1"]
    command += ["--include-dashboard=false", f"--object-store-memory={80 * 2**20}", f"--temp-dir={ray_folder}"]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    with open(ray_folder / "log", "wb") as log:
        head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    for _ in range(300):
        time.sleep(0.2)
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
    yield f"127.0.0.1:{port}"
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()


@pytest.mark.timeout(200)
def test_a_cluster_with_a_token_says_so_at_once_and_admits_who_has_it(cluster_with_token: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_ADDRESS": cluster_with_token, "PYTHONPATH": str(ROOT), "HOME": "/nowhere"}

    def join(**token: str) -> str:
        command = [sys.executable, "-c", JOIN]
        return subprocess.run(command, capture_output=True, text=True, env=environment | token, timeout=100).stdout

    refused = f"RAY_ADDRESS {cluster_with_token}: the cluster asks for "
    assert join().startswith(f"{refused}a token; set RAY_AUTH_MODE=token and its token in RAY_AUTH_TOKEN")
    assert join(RAY_AUTH_TOKEN="of another cluster").startswith(f"{refused}another token than ours; set")
    assert join(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN) == "joined\n"


def test_a_cluster_of_another_version_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        check_version_info({"ray_version": "2.9.0", "python_version": "3.9.18"}, "this node")

    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    said = r"Ray and Python must be those of the cluster\. The cluster was started with: Ray: 2\.9\.0 Python: 3\.9\.18 "
    with pytest.raises(BadInput, match=said):
        start_ray()


def test_nothing_else_starts_or_joins_a_ray() -> None:
    """Each `ray.init` names its address: without one, Ray joins the cluster of the machine's last `ray start`."""
    calls = []
    for path in (path for name in PACKAGES for path in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ray.init":
                assert "address" in {keyword.arg for keyword in node.keywords}, f"{path}:{node.lineno}"
                calls.append(path.relative_to(ROOT).as_posix())
    assert set(calls) == {"jobs/executors/on_ray.py", "index/corpus/img2dataset_process.py"}


def test_every_module_that_asks_ray_for_its_resources_starts_it_first() -> None:
    """Functions that need a Ray call `start_ray`, or run where one is up (replicas, and the application of Serve)."""
    users = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*.py")
        if "ray.cluster_resources" in path.read_text() and "start_ray" not in path.read_text()
    }
    assert users == {"jobs/serve_ray/app.py"}
