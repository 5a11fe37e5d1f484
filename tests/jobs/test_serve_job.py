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

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from jobs.cli import run
from jobs.serve_job import read_tokens
from mining.sets.decisions import read_decisions
from tests.jobs.test_cli import heed_ctrl_c
from tests.mining.made_sets import write_sets


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
        assert run(["serve", str(store_folder), "--port", str(taken.getsockname()[1])]) == 2
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
    with pytest.raises(BadInput, match="is empty; write one token a line"):
        read_tokens(str(tmp_path / "empty"), None)


@pytest.fixture(scope="module")
def pairs_folder(store_folder: Path) -> Path:
    write_sets(store_folder.parent, [[0, 1], [2, 3]], store=EmbeddingStore.open(store_folder))
    return store_folder.parent / "pairs"


def test_pairs_are_served_beside_the_store_and_decisions_kept_with_them(store_folder: Path, pairs_folder: Path) -> None:
    with process(str(store_folder), "--pairs", str(pairs_folder)) as (server, url):
        assert server.stderr is not None
        decisions = pairs_folder / "decisions.jsonl"
        assert server.stderr.readline() == f"pairs at {url}/page/pairs/, decisions go to {decisions}\n"
        assert httpx.get(f"{url}/page/pairs/", timeout=20).status_code == 200
        assert len(httpx.get(f"{url}/pairs", timeout=20).json()["sets"]) == 2
        httpx.post(f"{url}/pairs/0_1/decision", json={"decision": "reject"}, timeout=20).raise_for_status()
        assert httpx.get(f"{url}/rows/0/image?side=64", timeout=20).headers["Content-Type"] == "image/jpeg"
    assert read_decisions(decisions).rejected == {(0, 1)}


def test_pairs_that_cannot_be_served_are_one_line(
    store_folder: Path, pairs_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "decisions.jsonl"
    broken.write_text("no decision\n")
    other = write_sets(tmp_path, [[0, 1]]).path
    for arguments, message in (
        (["--pairs", str(tmp_path / "nowhere")], "no image sets"),
        (["--pairs", other], "was not mined from"),
        (["--pairs", str(pairs_folder), "--decisions", str(broken)], "line 1: is no decision"),
        (["--decisions", str(broken)], "name their folder too"),
        (["--executor", "ray", "--pairs", str(pairs_folder)], "leave out --executor ray"),
    ):
        assert run(["serve", str(store_folder), "--port", "0", *arguments]) == 2
        error = capsys.readouterr().err.strip()
        assert message in error
        assert len(error.splitlines()) == 1
