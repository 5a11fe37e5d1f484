"""The customize command and Ray's workers: N workers take one worker's steps, and errors read the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from customize.clip.strategies import STRATEGIES
from customize.clip.train.log import read_log
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from jobs.cli import run as run_command
from jobs.commands.customize import STRATEGIES as OFFERED
from jobs.customize_job import run_customize
from tests.customize.conftest import known_store, small_export, small_selection
from tests.customize.runs import config, losses, run
from tests.mining.made_sets import write_test_selection

__all__ = ["known_store", "small_export", "small_selection"]


def test_the_command_offers_every_strategy() -> None:
    assert tuple(STRATEGIES) == OFFERED


def on_ray(store: EmbeddingStore, selection: str, out: Path) -> subprocess.CompletedProcess[str]:
    """The command with two workers of Ray Train, in a process of its own.

    Not in the tests' own: after a Ray Train run a fork there (as Spark and `preexec_fn` make one) leaves Ray deaf for
    what becomes of its actors, and every later job on that Ray waits for ever (seen with Ray 2.60).
    """
    asked = "--executor ray --workers 2 --gated-blocks 1 --steps 6 --batch-size 8 --lr 1e-3 --warmup 1 --augment none --json"
    command = [sys.executable, "-m", "jobs.cli", "customize", str(store.path), selection, "--out", str(out)]
    command += [*asked.split(), "--device", "cpu"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_two_ray_workers_take_one_workers_steps(
    known_store: EmbeddingStore, small_selection: str, tmp_path: Path
) -> None:
    """Gated blocks and locked texts, by images that are gathered; the whole of it is two real processes."""
    _, alone = run(tmp_path / "one", small_selection, strategy="locked-text-gated-image", gated_blocks=1)
    done = on_ray(known_store, small_selection, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["workers"] == 2
    together = read_log(str(tmp_path / "two" / "log.jsonl"))
    np.testing.assert_allclose(losses(together), losses(alone), rtol=0, atol=1e-5)
    one, two = (load_file(tmp_path / name / "open_clip_model.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-5)


def test_what_a_ray_worker_raises_reads_as_without_ray(known_store: EmbeddingStore, tmp_path: Path) -> None:
    empty = write_test_selection(known_store, tmp_path / "empty", {"unicorn": []})
    done = on_ray(known_store, empty, tmp_path / "model")
    assert done.returncode == 2
    assert "selected no rows, so there is nothing to learn from" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_several_workers_need_ray(small_selection: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--workers 2: several workers train together on Ray"):
        run_customize(config(tmp_path, small_selection), workers=2)


def test_a_batch_that_workers_cannot_share(small_selection: str, tmp_path: Path) -> None:
    from customize.clip.train.distributed import Peers

    with pytest.raises(BadInput, match="--batch-size 9: cannot be shared evenly among 2 workers in 1 parts each"):
        Peers(0, 2).check_batch(9, 1)


def test_the_command_says_what_was_trained_and_what_was_not_computed(
    known_store: EmbeddingStore, small_selection: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    asked = ["--out", str(out), "--steps", "3", "--batch-size", "8", "--augment", "none", "--device", "cpu", "--json"]
    assert run_command(["customize", str(known_store.path), small_selection, *asked]) == 0
    printed = capfd.readouterr()
    summary = json.loads(printed.out)
    assert summary["texts"] == "the store"
    assert summary["steps"] == 3
    assert re.search(r"customize: 3/3 steps, loss \d\.\d+, accuracy 0\.\d+, logit scale", printed.err)
    assert (out / "open_clip_model.safetensors").exists()
    assert (out / "README.md").exists()


def test_bad_usage_is_one_line(
    known_store: EmbeddingStore, small_selection: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store, out = str(known_store.path), str(tmp_path / "model")
    for arguments, said in (
        (["--out", out], "give STORE and SELECTION, or --tars DIR"),
        ([store, small_selection, "--tars", "tars", "--out", out], "contradict each other"),
        ([store, small_selection, "--out", out, "--batch-size", "1"], "--batch-size 1: a contrastive loss compares"),
        ([store, small_selection, "--out", out, "--precision", "fp16"], "'fp16' is not one of 'auto', 'fp32', 'bf16'"),
        ([store, small_selection, "--out", out, "--batch-size", "99"], "is more than the 33 pairs"),
    ):
        assert run_command(["customize", *arguments]) == 2
        error = capfd.readouterr().err
        assert said in error
        assert error.count("\n") <= 1 or error.strip().splitlines()[-1].startswith("clipmine: error:")
