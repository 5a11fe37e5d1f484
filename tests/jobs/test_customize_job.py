"""The customize job on Ray: N workers take one worker's steps, and errors read the same as without Ray."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from customize.clip.train.log import StepRecord, read_log
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from jobs.customize_job import StepProgress, run_customize
from tests.customize.clip.train.runs import config, losses, run
from tests.jobs.running import clipmine_command
from tests.mining.made_sets import write_test_selection


def on_ray(store: EmbeddingStore, selection: str, out: Path) -> subprocess.CompletedProcess[str]:
    """The command with two workers of Ray Train, in a process of its own.

    Not in the tests' own: after a Ray Train run, a fork (starting Spark forks, and so does `preexec_fn`) breaks Ray's
    actor notifications in this process, and later jobs on Ray hang (Ray 2.60).
    """
    asked = "--executor ray --workers 2 --gated-blocks 1 --steps 6 --batch-size 8 --lr 1e-3 --warmup 1 --augment none"
    command = clipmine_command("customize", store.path, selection, "--out", out, *asked.split())
    command += ["--device", "cpu", "--json"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_two_ray_workers_take_one_workers_steps(
    known_store: EmbeddingStore, small_selection: str, tmp_path: Path
) -> None:
    """Gated blocks and locked texts, with gathered images, in two real processes.

    To a tolerance: two halves of a batch add up in another order than the whole.
    """
    _, alone = run(tmp_path / "one", small_selection, strategy="locked-text-gated-image", gated_blocks=1)
    done = on_ray(known_store, small_selection, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["workers"] == 2
    together = read_log(str(tmp_path / "two" / "log.jsonl"))
    np.testing.assert_allclose(losses(together), losses(alone), rtol=0, atol=1e-5)
    one, two = (load_file(tmp_path / name / "open_clip_model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-5)


def test_what_a_ray_worker_raises_reads_as_without_ray(known_store: EmbeddingStore, tmp_path: Path) -> None:
    empty = write_test_selection(known_store, tmp_path / "empty", {"unicorn": []})
    done = on_ray(known_store, empty, tmp_path / "model")
    assert done.returncode == 2, done.stderr
    assert "selected no rows, so there is nothing to learn from" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_several_workers_need_ray(small_selection: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--workers 2: several workers train together on Ray"):
        run_customize(config(tmp_path, small_selection), workers=2)
    with pytest.raises(BadInput, match="--executor spark: training runs on local or ray"):
        run_customize(config(tmp_path, small_selection), executor="spark")


def test_progress_shows_the_loss_and_the_gates() -> None:
    log = io.StringIO()
    progress = StepProgress("customize", 2, unit="steps", stream=log, log_seconds=0)
    with progress:
        for step in (1, 2):
            record = StepRecord(
                step=step, loss=1.5 / step, accuracy=0.25 * step, logit_scale=14.3, lr=1e-3, gates={"image": 0.125}
            )
            progress.see(record, 2)
    _, first, last = log.getvalue().splitlines()
    assert first.startswith("customize: 1/2 steps, loss 1.5000, accuracy 0.250, logit scale 14.3, image gates 0.125")
    assert last.startswith("customize: 2/2 steps, loss 0.7500, accuracy 0.500")
