"""A Ray and a Spark of several nodes on this machine: each node is a group of processes that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Protocol

from benchmarks.cluster_jobs.steps import Step

__all__ = ["Cluster", "Local", "RayCluster", "SparkCluster"]

_BIN = Path(sys.executable).parent
_MEMORY = str(80 * 2**20)  # of Ray's object store


class Cluster(Protocol):
    """Runs steps on an executor; `run` returns what happened to a node meanwhile."""

    executor: str

    def run(self, step: Step) -> str: ...


class Local:
    """Processes of this machine."""

    executor = "local"

    def run(self, step: Step) -> str:
        """Run the step without a disturbance."""
        command = [str(_BIN / "clipmine"), *step.arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return "no kill"


class _Nodes:
    """What both kinds have in common: nodes by number, a log, and a job that loses node 0 in the middle."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        self.log.mkdir(parents=True, exist_ok=True)
        self.nodes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a part of the cluster in a process group of its own."""
        with open(self.log / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=self.log
            )

    def submit(self, step: Step, command: list[str], environment: dict[str, str], add_node: Callable[[], None]) -> str:
        """Run a command; when the step has its first file, kill node 0 and add another one."""
        before = set(step.out.glob(step.first))
        job = self.start(f"{step.name}-job", command, environment)
        killed = "it ended before a node could be killed"
        while job.poll() is None:
            if killed.startswith("it ended") and set(step.out.glob(step.first)) - before:
                kill(self.nodes.pop(0))
                add_node()
                killed = "a node killed"
            time.sleep(0.05)
        if job.returncode:
            raise RuntimeError(f"{' '.join(command)} ends with {job.returncode}; see {self.log}")
        return killed


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the process and all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """A port that nothing listens at now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Wait until something listens there; raises TimeoutError after a minute."""
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"nothing listens at port {port}")


class RayCluster(_Nodes):
    """A head without cores and two nodes of one core each; jobs are submitted to the head."""

    executor = "ray"

    def __enter__(self) -> RayCluster:
        self.port, self.page = free_port(), free_port()
        self.session = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: it holds sockets
        self.environment = {
            **os.environ,
            "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "disabled",
        }
        self.environment |= {"RAY_worker_niceness": "0"}
        self.environment.pop("RAY_ADDRESS", None)
        head = ["--head", f"--port={self.port}", "--num-cpus=0", f"--dashboard-port={self.page}"]
        head += [f"--temp-dir={self.session}", "--include-dashboard=true"]
        self.head = self._start("head", head)
        wait_for_port(self.port)
        wait_for_port(self.page)
        for _ in range(2):
            self._add()
        for _ in range(60):  # the head takes jobs some seconds after it answers
            if self.start("first-job", [*self._submit, "--", "true"], self.environment).wait() == 0:
                return self
            time.sleep(1)
        raise TimeoutError(f"the head takes no jobs; see {self.log}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in [*self.nodes, self.head]:
            kill(process)

    def run(self, step: Step) -> str:
        """Submit the step as docs/cluster.md says."""
        return self.submit(step, [*self._submit, "--", "clipmine", *step.arguments], self.environment, self._add)

    @property
    def _submit(self) -> list[str]:
        return [str(_BIN / "ray"), "job", "submit", "--address", f"http://127.0.0.1:{self.page}"]

    def _start(self, name: str, options: list[str]) -> subprocess.Popen[bytes]:
        command = [str(_BIN / "ray"), "start", "--block", f"--object-store-memory={_MEMORY}", *options]
        return self.start(name, command, self.environment)

    def _add(self) -> None:
        self.nodes.append(self._start("node", [f"--address=127.0.0.1:{self.port}", "--num-cpus=1"]))


class SparkCluster(_Nodes):
    """A standalone master and two workers of one core each."""

    executor = "spark"

    def __enter__(self) -> SparkCluster:
        spec = find_spec("pyspark")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        self.home = Path(next(iter(spec.submodule_search_locations)))
        self.port = free_port()
        self.environment = {**os.environ, "SPARK_HOME": str(self.home), "PYSPARK_PYTHON": sys.executable}
        master = ["--host", "127.0.0.1", "--port", str(self.port), "--webui-port", str(free_port())]
        self.master = self._start("master", "org.apache.spark.deploy.master.Master", master)
        wait_for_port(self.port)
        for _ in range(2):
            self._add()
        command = [sys.executable, "-m", "jobs.spark_files", str(self.log)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in [*self.nodes, self.master]:
            kill(process)

    def run(self, step: Step) -> str:
        """Submit the step as docs/cluster.md says."""
        command = [str(self.home / "bin" / "spark-submit"), "--master", f"spark://127.0.0.1:{self.port}"]
        command += ["--py-files", str(self.log / "clipmine.zip"), str(self.log / "clipmine-spark.py"), *step.arguments]
        return self.submit(step, command, self.environment, self._add)

    def _start(self, name: str, java_class: str, options: list[str]) -> subprocess.Popen[bytes]:
        return self.start(name, [str(self.home / "bin" / "spark-class"), java_class, *options], self.environment)

    def _add(self) -> None:
        place = tempfile.mkdtemp(prefix="spark-worker-", dir=self.log)
        options = ["--cores", "1", "--memory", "1g", "--work-dir", place, "--webui-port", str(free_port())]
        name = "org.apache.spark.deploy.worker.Worker"
        self.nodes.append(self._start("worker", name, [*options, f"spark://127.0.0.1:{self.port}"]))
