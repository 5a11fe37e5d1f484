"""`clipmine serve` as a process: it starts, answers, and stops when it is told to."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from index.errors import BadInput
from index.model_spec import ModelSpec
from index.store import EmbeddingStore
from index.store_model import remember_model
from jobs.cli import run
from jobs.serve import read_tokens
from tests.jobs.test_cli import heed_ctrl_c


@pytest.fixture(scope="module")
def store_folder(small_store: EmbeddingStore, tiny_clip_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "store"
    shutil.copytree(small_store.path, folder)
    remember_model(folder, ModelSpec(model_dir=str(tiny_clip_dir)))
    return folder


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`clipmine serve` on a free port, and its address."""
    command = [sys.executable, "-m", "jobs.cli", "serve", *arguments, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c) as server:
        assert server.stderr is not None
        try:
            assert server.stderr.readline().startswith("opening ")
            line = server.stderr.readline()
            found = re.search(r"http://\S+?(?=/ )", line)
            assert found, line + server.stderr.read()
            yield server, found.group()
        finally:
            server.kill()


def test_it_serves_until_sigterm_and_leaves_with_0(store_folder: Path) -> None:
    with process(str(store_folder)) as (server, url):
        answer = httpx.post(f"{url}/search", json={"queries": [{"text": "a red circle"}], "k": 2}, timeout=20)
        assert len(answer.json()["results"][0]["rows"]) == 2
        assert httpx.get(f"{url}/readyz", timeout=20).status_code == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) in (0, -signal.SIGTERM)


def test_ctrl_c_stops_it_without_a_complaint(store_folder: Path) -> None:
    with process(str(store_folder)) as (server, url):
        assert httpx.get(f"{url}/healthz", timeout=20).status_code == 200
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert server.stderr is not None
        assert server.stderr.read() == "stopped\n"


def test_a_port_that_is_taken_is_one_line(store_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", str(store_folder), "--port", str(taken.getsockname()[1])]) == 1
    error = capfd.readouterr().err.strip()
    assert "choose another --port" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["nowhere"], ["--cors", "*"], ["--tokens-file", "nowhere.txt"]])
def test_what_cannot_be_served_is_one_line(
    arguments: list[str], store_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if not arguments[0].startswith("--") else [str(store_folder), *arguments]
    assert run(["serve", *given]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_tokens_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("# ours\none\n\ntwo \n")
    assert read_tokens(str(tmp_path / "tokens"), "three, one") == ("three", "one", "two")
    (tmp_path / "empty").write_text("# none\n")
    with pytest.raises(BadInput, match="no token"):
        read_tokens(str(tmp_path / "empty"), None)
