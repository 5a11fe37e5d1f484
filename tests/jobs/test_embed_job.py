"""The embedding job: the same bytes from all executors, and after any interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from index.encoder.model_spec import ModelSpec
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import store_model
from jobs.embed_job import run_embed
from tests.conftest import write_shapes_tar
from tests.folders import file_bytes


def _config(corpus: Path, out: Path, model_dir: Path) -> EmbedConfig:
    return EmbedConfig(str(corpus), str(out), ModelSpec(model_dir=str(model_dir)), batch_size=8, device="cpu")


def test_all_executors_write_the_same_bytes(
    executor: str, small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, small_store: EmbeddingStore
) -> None:
    config = _config(small_corpus, tmp_path / "store", tiny_clip_dir)
    summary = run_embed(config, executor=executor, workers=2)
    written = file_bytes(config.out)
    assert written.pop("model.json")
    assert "manifest.json" in written
    # `small_store` was made item by item in the tests' own process.
    assert written == {name: data for name, data in file_bytes(small_store.path).items() if name != "model.json"}
    assert (summary.store.rows, summary.items_skipped, summary.rows_embedded) == (33, 0, 33)


def test_a_run_that_is_killed_goes_on_and_ends_with_the_same_bytes(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, small_store: EmbeddingStore
) -> None:
    out = tmp_path / "store"
    command = [sys.executable, "-m", "jobs.cli", "embed", str(small_corpus), "--out", str(out), "--batch-size", "8"]
    process = subprocess.Popen(
        [*command, "--model-dir", str(tiny_clip_dir)], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (out / "done/0000.json").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    summary = run_embed(_config(small_corpus, out, tiny_clip_dir))
    assert summary.items_skipped >= 1
    assert (out / "manifest.json").read_bytes() == (small_store.path / "manifest.json").read_bytes()


def test_a_store_remembers_its_model(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    config = _config(small_corpus, tmp_path / "store", tiny_clip_dir)
    run_embed(config)
    assert store_model(config.out) == config.model


def test_a_grown_corpus_adds_parts_and_keeps_the_old(tiny_clip_dir: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_shapes_tar(corpus / "00000.tar", 6, seed=0)
    config = _config(corpus, tmp_path / "store", tiny_clip_dir)
    run_embed(config)
    before = file_bytes(config.out)
    write_shapes_tar(corpus / "00001.tar", 5, seed=1)
    summary = run_embed(config)
    after = file_bytes(config.out)
    assert (summary.store.rows, summary.items_skipped, summary.rows_embedded) == (11, 1, 5)
    assert {name for name, data in before.items() if after[name] != data} == {"manifest.json"}
