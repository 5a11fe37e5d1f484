"""`clipmine serve` as a process: it starts, answers, and stops when it is told to."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from jobs.serve_job import read_tokens
from mining import ImageSets
from mining.sets.decisions import read_decisions
from tests.jobs.running import clipmine_command, heed_ctrl_c
from tests.mining.made_sets import write_foreign_sets, write_sets
from tests.mining.sets.importers.made_files import import_records


@pytest.fixture(scope="module")
def store_folder(small_store: EmbeddingStore, tiny_clip_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serve") / "store"
    shutil.copytree(small_store.path, folder)
    remember_model(folder, ModelSpec(model_dir=str(tiny_clip_dir)))
    return folder


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`clipmine serve` on a free port, and its address."""
    command = clipmine_command("serve", *arguments, "--port", 0)
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


def test_it_serves_until_sigterm(store_folder: Path) -> None:
    with process(str(store_folder)) as (server, url):
        answer = httpx.post(f"{url}/search", json={"queries": [{"text": "a red circle"}], "k": 2}, timeout=20)
        assert len(answer.json()["results"][0]["rows"]) == 2
        assert httpx.get(f"{url}/readyz", timeout=20).status_code == 200
        server.send_signal(signal.SIGTERM)
        # uvicorn finishes what runs, then passes the signal on: the process ends by it, as its caller expects.
        assert server.wait(30) == -signal.SIGTERM


def test_two_stores_are_served_by_one_process(store_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(store_folder, tmp_path / "copy")
    with process(str(store_folder), "--store", f"again={tmp_path / 'copy'}") as (_, url):
        assert httpx.get(f"{url}/indices-list", timeout=20).json() == ["store", "again"]
        body = {"queries": [{"text": "a red circle"}], "k": 2}
        first, second = (httpx.post(f"{url}/search?store={name}", json=body, timeout=20) for name in ("store", "again"))
        assert first.json()["results"] == second.json()["results"]
        assert httpx.get(f"{url}/readyz", timeout=20).status_code == 200


def test_ctrl_c_stops_it_without_a_complaint(store_folder: Path) -> None:
    with process(str(store_folder)) as (server, url):
        assert httpx.get(f"{url}/healthz", timeout=20).status_code == 200
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert server.stderr is not None
        assert server.stderr.read() == "stopped\n"


def test_tokens_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("# ours\none\n\ntwo \n")
    assert read_tokens(str(tmp_path / "tokens"), "three, one") == ("three", "one", "two")
    (tmp_path / "empty").write_text("# none\n")
    with pytest.raises(BadInput, match="is empty; write one token a line"):
        read_tokens(str(tmp_path / "empty"), None)


@pytest.fixture(scope="module")
def pairs_folder(store_folder: Path) -> Path:
    store = EmbeddingStore.open(store_folder)
    write_sets(store_folder.parent, [[0, 1], [2, 3]], store=store, set_id=["0_1", "2_3"])
    return store_folder.parent / "pairs"


def test_pairs_are_served_beside_the_store_and_decisions_kept_with_them(store_folder: Path, pairs_folder: Path) -> None:
    with process(str(store_folder), "--pairs", str(pairs_folder)) as (server, url):
        assert server.stderr is not None
        decisions = pairs_folder / "decisions.jsonl"
        assert server.stderr.readline() == f"pairs at {url}/page/pairs/, decisions go to {decisions}\n"
        assert httpx.get(f"{url}/page/pairs/", timeout=20).status_code == 200
        assert len(httpx.get(f"{url}/pairs", timeout=20).json()["sets"]) == 2
        body = {"set_id": "0_1", "decision": "reject"}
        httpx.post(f"{url}/pairs/decision", json=body, timeout=20).raise_for_status()
        for path in ("rows/0/image?side=64", "pairs/image?set_id=0_1&position=0"):
            assert httpx.get(f"{url}/{path}", timeout=20).headers["Content-Type"] == "image/jpeg"
    assert read_decisions(decisions).rejected == {ImageSets.open(pairs_folder)[0].refs}


def test_sets_whose_images_have_no_folder_are_counted_at_the_start(store_folder: Path, tmp_path: Path) -> None:
    talk = [{"from": "human", "value": "<image> What?"}, {"from": "gpt", "value": "A bus."}]
    records = [{"id": name, "image": f"{name}.jpg", "conversations": talk} for name in ("a", "b")]
    sets = import_records(tmp_path, "llava", records)
    [source] = sets.sources
    with process(str(store_folder), "--pairs", sets.path) as (server, _):
        assert server.stderr is not None
        assert server.stderr.readline().startswith("pairs at ")
        assert server.stderr.readline() == (
            f"the images of {source} are not shown: they are known by name or URL only (sets: 2); import again with "
            "--images\n"
        )


def test_pairs_of_other_sources_are_served_and_the_missing_ones_named(store_folder: Path, tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]])
    source = next(iter(sets.sources.values()))
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    with process(str(store_folder), "--pairs", sets.path) as (server, url):
        assert server.stderr is not None
        assert server.stderr.readline().startswith(f"pairs at {url}/page/pairs/")
        line = server.stderr.readline()
        assert line == f"the images of {source.name} are not shown: {source.path} is not there\n"
        assert len(httpx.get(f"{url}/pairs", timeout=20).json()["sets"]) == 1
        (tmp_path / "elsewhere").rename(tmp_path / "photos")
        answer = httpx.get(f"{url}/pairs/image?set_id=foreign-0&position=1", timeout=20)
        assert answer.headers["Content-Type"] == "image/jpeg", "put back, they are shown"
