"""The embedding job: the same store from all executors, and after any interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, OutputExists
from index.lease import only_writer
from index.store.embed import EmbedConfig
from index.store.embedding_store import EmbeddingStore
from index.store.store_model import store_model
from jobs.embed_job import run_embed
from jobs.index_job import MODALITIES
from tests.conftest import write_shapes_tar
from tests.folders import file_bytes
from tests.jobs.running import clipmine_command


def _config(corpus: Path, out: Path, model_dir: Path) -> EmbedConfig:
    return EmbedConfig(str(corpus), str(out), ModelSpec(model_dir=str(model_dir)), batch_size=8, device="cpu")


@pytest.fixture(scope="module")
def by_two_local_workers(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The files of a store that two local workers wrote, which share the cores as two workers of Ray or Spark do."""
    folder = tmp_path_factory.mktemp("by_two") / "store"
    run_embed(_config(small_corpus, folder, tiny_clip_dir), workers=2)
    return file_bytes(folder)


def test_all_executors_write_the_same_bytes(
    executor: str, small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, by_two_local_workers: dict[str, bytes]
) -> None:
    # Those of the two local workers were decoded by threads.
    config = replace(_config(small_corpus, tmp_path / "store", tiny_clip_dir), decode_processes=2)
    summary = run_embed(config, executor=executor, workers=2)
    assert (summary.store.rows, summary.items_skipped, summary.rows_embedded) == (33, 0, 33)
    assert file_bytes(tmp_path / "store") == by_two_local_workers


def test_a_store_that_the_nodes_do_not_see_is_refused_before_anything_is_embedded(
    ray_up: None, small_corpus: Path, tiny_clip_dir: Path
) -> None:
    config = _config(small_corpus, Path("unused"), tiny_clip_dir)
    with pytest.raises(BadInput, match=r"memory://nodes: .* does not see what .* writes there; choose a folder"):
        run_embed(replace(config, out="memory://nodes"), executor="ray", workers=1)


def test_a_store_in_the_folder_that_ray_copies_is_refused(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    with pytest.raises(BadInput, match="ray job submit --working-dir"):
        run_embed(_config(small_corpus, Path("store"), tiny_clip_dir), executor="ray")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_embedded_while_another_job_writes_in_the_store(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    config = _config(small_corpus, tmp_path / "store", tiny_clip_dir)
    with only_writer(config.out), pytest.raises(OutputExists, match="another process is writing there"):
        run_embed(config)
    assert not (tmp_path / "store").exists()


def test_another_number_of_threads_changes_vectors_by_rounding_alone(
    tiny_clip_dir: Path, tmp_path: Path, small_corpus: Path, small_store: EmbeddingStore
) -> None:
    run_embed(_config(small_corpus, tmp_path / "store", tiny_clip_dir), workers=2)
    store = EmbeddingStore.open(tmp_path / "store")
    for modality in MODALITIES["both"]:
        vectors, made_here = store.gather(modality, np.arange(33)), small_store.gather(modality, np.arange(33))
        # `small_store` was made in this process with all its threads. One step of float16 near 1 is 1e-3.
        np.testing.assert_allclose(vectors.astype(np.float32), made_here.astype(np.float32), rtol=0, atol=1e-3)


def test_a_run_that_is_killed_continues_and_ends_with_the_same_bytes(
    small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path, small_store: EmbeddingStore
) -> None:
    out = tmp_path / "store"
    command = clipmine_command("embed", small_corpus, "--out", out, "--batch-size", 8, "--model-dir", tiny_clip_dir)
    # One worker runs in the command's own process, with as many threads as `small_store` was made with.
    command += ["--workers", "1", "--device", "cpu"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300  # minutes, on a busy machine
    while not (out / "done/0000.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    summary = run_embed(_config(small_corpus, out, tiny_clip_dir), workers=1)
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
    assert {name for name, data in before.items() if after[name] != data} == {"manifest.json", "done/all.jsonl"}
