"""Each command does its part of the road, says it in lines that add up, and again as JSON."""

from __future__ import annotations

import csv
import functools
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from index.encoder.model_spec import ModelSpec
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import remember_model
from jobs.cli import run
from retrieval.selection import Selection
from retrieval.service.settings import Settings
from tests.index.corpora import encode
from tests.serving import serving

Run = Callable[..., list[str]]


@pytest.fixture
def clipmine(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that must succeed; returns the lines that it printed on stdout."""

    def running(*arguments: object) -> list[str]:
        status = run([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert status == 0, captured.err
        return captured.out.splitlines()

    return running


@pytest.fixture
def store(small_store: EmbeddingStore, tiny_clip_dir: Path, tmp_path: Path, clipmine: Run) -> Path:
    """A copy of the shared store that a test may change; its corpus is the shared one."""
    copy = tmp_path / "store"
    shutil.copytree(small_store.path, copy)
    return copy


@pytest.fixture
def concepts(tmp_path: Path) -> Path:
    path = tmp_path / "concepts.txt"
    path.write_text("red circle\nblue square\n")
    return path


def _numbers(lines: list[str]) -> dict[str, int]:
    """The counts of a summary by their labels."""
    found = {}
    for line in lines:
        label, _, value = line.rpartition("  ")
        if value.replace(",", "").isdigit():
            found[label.strip()] = int(value.replace(",", ""))
    return found


def test_from_a_store_to_tars(store: Path, concepts: Path, tiny_clip_dir: Path, tmp_path: Path, clipmine: Run) -> None:
    lines = clipmine("index", store)
    assert _numbers(lines)["image: indexed"] == _numbers(lines)["text: indexed"] == 33
    assert any("recall@10" in line for line in lines)
    chosen = ["--concepts", concepts, "-k", 5, "--model-dir", tiny_clip_dir, "--per-concept", 4]
    lines = clipmine("retrieve", store, *chosen, "--out", tmp_path / "selection")
    counts = _numbers(lines)
    lost = sum(count for label, count in counts.items() if label.startswith("- "))
    assert counts["hits"] == lost + counts["rows selected"]
    assert counts["rows selected"] == Selection.open(tmp_path / "selection").rows <= 8
    assert lines[-1] == f"next: clipmine export {tmp_path / 'selection'} --out DIR"
    lines = clipmine("export", tmp_path / "selection", "--out", tmp_path / "tars", "--workers", 1)
    assert _numbers(lines)["rows exported"] == counts["rows selected"]
    assert (tmp_path / "tars/00000.tar").exists()
    listed = json.loads(
        clipmine("export", tmp_path / "selection", "--out", tmp_path / "urls", "--format", "csv", "--json")[0]
    )
    assert listed["exported"] == counts["rows selected"]


class TestRetrieveByUrl:
    """`clipmine retrieve --url`: a service's answer as the same selection."""

    @pytest.fixture
    def served(self, store: Path, tiny_clip_dir: Path) -> Path:
        remember_model(store, ModelSpec(model_dir=str(tiny_clip_dir)))
        return store

    def test_it_writes_the_selection_that_the_store_itself_gives(
        self, served: Path, concepts: Path, tmp_path: Path, clipmine: Run
    ) -> None:
        chosen = ["--concepts", concepts, "-k", 5, "--per-concept", 4, "--min-score", -0.5]
        clipmine("retrieve", served, *chosen, "--out", tmp_path / "here")
        with serving(served) as url:
            lines = clipmine("retrieve", "--url", url, *chosen, "--out", tmp_path / "there")
        here, there = Selection.open(tmp_path / "here"), Selection.open(tmp_path / "there")
        assert there.table().equals(here.table())
        assert there.losses == here.losses
        assert _numbers(lines)["rows selected"] == here.rows
        assert _numbers(lines)["hits"] == here.hits
        assert "rows in reserve" in lines[-4]
        assert lines[-4].endswith("none: a service sends no reserve")
        assert lines[-1] == f"next: clipmine export {tmp_path / 'there'} --store STORE --out DIR"
        lines = clipmine("export", tmp_path / "there", "--store", served, "--out", tmp_path / "tars", "--workers", 1)
        assert _numbers(lines)["rows exported"] == here.rows

    def test_a_token_comes_from_the_environment(
        self, served: Path, concepts: Path, tmp_path: Path, clipmine: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with serving(served, Settings(tokens=("sesame",))) as url:
            asked = ["retrieve", "--url", url, "--concepts", concepts, "--out", tmp_path / "out", "-k", 3]
            assert run([str(argument) for argument in asked]) == 2
            monkeypatch.setenv("CLIPMINE_TOKEN", "sesame")
            clipmine(*asked)
        assert Selection.open(tmp_path / "out").rows

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([], "say where to retrieve from: a STORE, or the --url of a service"),
            (["STORE", "--url", "http://127.0.0.1:9"], "--url and STORE STORE contradict each other"),
            (["--url", "http://127.0.0.1:9", "--model-dir", "m"], "--url and --model-dir contradict each other"),
            (["--url", "http://127.0.0.1:9", "--exclude", "s"], "--url and --exclude contradict each other"),
            (["--url", "127.0.0.1:9"], "is no URL of a service"),
        ],
    )
    def test_what_contradicts_itself_is_one_line(
        self, arguments: list[str], says: str, concepts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["retrieve", *arguments, "--concepts", str(concepts), "--out", str(tmp_path / "out")]) == 2
        told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("clipmine: ")]
        assert len(told) == 1
        assert says in told[0]
        assert not (tmp_path / "out").exists()


def test_info_tells_rows_model_and_recall(store: Path, clipmine: Run) -> None:
    assert clipmine("info", store)[-1] == f"next: clipmine index {store}"
    clipmine("index", store, "--modality", "image")
    lines = clipmine("info", store)
    assert _numbers(lines) == {"rows": 33, "parts": 2}
    assert any(line.startswith("image index") for line in lines)
    info = json.loads(clipmine("info", store, "--json")[0])
    assert [index["modality"] for index in info["indexes"]] == ["image"]


def test_forgotten_rows_are_erased_by_compact(store: Path, tmp_path: Path, clipmine: Run) -> None:
    keys = EmbeddingStore.open(store).metadata([3, 4], ["key"])["key"].to_pylist()
    (tmp_path / "keys.txt").write_text("\n".join([*keys, "no such key"]))
    (tmp_path / "rows.txt").write_text("4\n9\n")
    lines = clipmine("forget", store, "--keys", tmp_path / "keys.txt", "--rows", tmp_path / "rows.txt")
    assert _numbers(lines) == {"rows forgotten now": 3, "forgotten before": 0}
    assert any("no such key" in line for line in lines)
    assert EmbeddingStore.open(store).forgotten.tolist() == [3, 4, 9]
    assert _numbers(clipmine("compact", store))["rows erased"] == 3
    assert not EmbeddingStore.open(store).embeddings("image", 0)[3].any()


def test_forget_needs_to_be_told_what(store: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["forget", str(store)]) == 2
    assert "say what to forget: --keys FILE or --rows FILE" in capfd.readouterr().err
    (tmp_path / "rows.txt").write_text("4\nfive\n")
    assert run(["forget", str(store), "--rows", str(tmp_path / "rows.txt")]) == 2
    assert "'five' is not a row id" in capfd.readouterr().err


def test_adopt_opens_what_clip_retrieval_wrote(store: Path, tmp_path: Path, clipmine: Run) -> None:
    foreign = tmp_path / "foreign"
    for folder in ("img_emb", "text_emb", "metadata"):
        shutil.copytree(store / folder, foreign / folder)
    lines = clipmine("adopt", foreign)
    assert _numbers(lines)["rows"] == 33
    adopted, ours = EmbeddingStore.open(foreign), EmbeddingStore.open(store)
    assert np.array_equal(adopted.gather("image", [5]), ours.gather("image", [5]))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a server with three pictures."""
    from PIL import Image

    folder = tmp_path / "web"
    folder.mkdir()
    for number, color in enumerate(("red", "green", "blue")):
        (folder / f"{number}.png").write_bytes(encode(Image.new("RGB", (40, 40), color), "PNG"))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_table_of_urls_is_downloaded_and_embedded(
    web: str, tmp_path: Path, tiny_clip_dir: Path, clipmine: Run
) -> None:
    with open(tmp_path / "urls.csv", "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["url", "caption"])
        table.writerows([[f"{web}/{number}.png", f"picture {number}"] for number in range(3)])
        table.writerow([f"{web}/lost.png", "gone"])
    lines = clipmine("embed", tmp_path / "urls.csv", "--out", tmp_path / "s", "--model-dir", tiny_clip_dir)
    assert _numbers(lines)["rows in the store"] == 3
    assert (tmp_path / "s-images/00000.tar").exists()
    lines = clipmine("download", tmp_path / "urls.csv", "--out", tmp_path / "s-images", "--retry-failed")
    assert _numbers(lines) == {"rows in the table": 4, "- http_404": 1, "images downloaded": 3, "tars": 1}
