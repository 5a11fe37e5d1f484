"""Both services as processes: how they are started, their memory, and the environment of clip-retrieval."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
PEER = ("clip-retrieval==2.45.0", "setuptools<70")  # 70 and later lack the pkg_resources that it imports


@contextmanager
def running(command: list[str], ready: str, *port_option: str) -> Iterator[tuple[str, int]]:
    """Start a service as a process; yields its URL and process id once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, *port_option, str(port)], stdout=log, stderr=log, cwd=ROOT)
        url = f"http://127.0.0.1:{port}"
        try:
            end = time.monotonic() + 300
            while time.monotonic() < end and process.poll() is None:
                try:
                    if httpx.get(url + ready, timeout=5).status_code == 200:
                        break
                except httpx.TransportError:
                    time.sleep(0.2)
            else:
                log.seek(0)
                raise SystemExit(f"{command} did not start:\n{log.read().decode()[-3_000:]}")
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def memory_mb(pid: int | str) -> float:
    """A process's anonymous memory; pages of mapped files are left out, since the system can reclaim them."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def encoder_memory_mb() -> float:
    """`memory_mb` of a process that only loads the encoder and encodes a batch of texts."""
    code = (
        "import pathlib, re\n"
        "from index.encoder.loading import load_encoder\n"
        "from index.encoder.model_spec import ModelSpec\n"
        "encoder = load_encoder(ModelSpec('ViT-B-32', random_seed=0), 'cpu')\n"
        "encoder.encode_queries(['a photo of a dog'] * 32)\n"
        "print(re.search(r'RssAnon:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT, text=True)
    return int(done.stdout) / 1024


def peer_environment() -> Path:
    """The Python of an environment with clip-retrieval, which is built outside the repository at the first use."""
    folder = Path.home() / ".cache" / "clipmine-benchmarks" / "clip-retrieval"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"building {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER], check=True)
        (folder / "complete").touch()
    return python
