"""The service as a process, started as a user starts it, from this checkout or another one."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ATTACKER", "AUTHORISED", "HowToStart", "running"]

AUTHORISED, ATTACKER = "authorised-token", "attackers-token"


@dataclass(frozen=True)
class HowToStart:
    """python: the interpreter; root: the checkout; pairs: image sets, which are not served on Ray; ray: on Ray;
    fds: file descriptors that it may have, None: ours.
    """

    store: Path
    python: str = sys.executable
    root: Path = Path(__file__).resolve().parents[2]
    pairs: Path | None = None
    ray: bool = False
    fds: int | None = None

    @property
    def command(self) -> list[str]:
        """The command line, without the port and the file of tokens."""
        options = ["--executor", "ray", "--shard-groups", "2"] if self.ray else []
        if self.pairs is not None and not self.ray:
            options = ["--pairs", str(self.pairs)]
        return [self.python, "-m", "jobs.cli", "serve", str(self.store), *options]


@contextmanager
def running(how: HowToStart, log: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Start the service; yields its port and process when it is ready. Its standard error goes to `log`.

    Raises SystemExit when it does not become ready in 2 minutes, on Ray in 5.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    # Before site-packages, where an editable installation of another checkout may be named.
    environment["PYTHONPATH"] = str(how.root)
    with tempfile.TemporaryDirectory() as folder, open(log, "ab") as errors:
        tokens = Path(folder) / "tokens"
        tokens.write_text(f"{AUTHORISED}\n{ATTACKER}\n")
        command = [*how.command, "--port", str(port), "--tokens-file", str(tokens)]
        service = subprocess.Popen(
            command, stdout=errors, stderr=errors, env=environment, cwd=how.root, start_new_session=True,
            preexec_fn=None if how.fds is None else _limit_files(how.fds),
        )  # fmt: skip
        try:
            _wait(service, port, 300 if how.ray else 120)
            yield port, service
        finally:
            _stop(service, 60 if how.ray else 5)


def _limit_files(count: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))

    return limit


def _wait(service: subprocess.Popen[bytes], port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not _is_ready(port):
        if service.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"the service did not start within {seconds:g} s")
        time.sleep(0.2)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(service: subprocess.Popen[bytes], seconds: float) -> None:
    service.terminate()
    try:
        service.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
