"""The customize job on Ray: N workers take one worker's steps, and errors read the same as without Ray."""

from __future__ import annotations

import io
import json
import subprocess
import sys
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
from tests.mining.made_sets import write_test_selection

ASKED = "--executor ray --gated-blocks 1 --steps 6 --batch-size 8 --lr 1e-3 --warmup 1 --augment none"

# Runs each of the commands given as JSON and prints its exit status as the last line on stdout.
RUN_ALL = """
import json, sys
from jobs.cli import run
for command in json.loads(sys.argv[1]):
    print(json.dumps({"status": run(command)}), flush=True)
    print("-- next --", file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def on_ray(
    known_store: EmbeddingStore, small_selection: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], list[str]]:
    """The command on Ray Train: two workers on a selection, then one on an empty one. (folder, stdout lines, stderrs)

    In one process of its own. Not in the tests' own: after a Ray Train run, a fork (starting Spark forks, and so does
    `preexec_fn`) breaks Ray's actor notifications in this process, and later jobs on Ray hang (Ray 2.60).
    """
    folder = tmp_path_factory.mktemp("on_ray")
    empty = write_test_selection(known_store, folder / "empty", {"unicorn": []})
    options = [*ASKED.split(), "--device", "cpu", "--json"]
    commands = [
        ["customize", str(known_store.path), selection, "--out", str(folder / name), "--workers", workers, *options]
        for selection, name, workers in ((small_selection, "two", "2"), (empty, "none", "1"))
    ]
    command = [sys.executable, "-c", RUN_ALL, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout.splitlines(), done.stderr.split("-- next --")


def test_two_ray_workers_take_one_workers_steps(
    on_ray: tuple[Path, list[str], list[str]], small_selection: str, tmp_path: Path
) -> None:
    """Gated blocks and locked texts, with gathered images, in two real processes.

    To a tolerance: two halves of a batch add up in another order than the whole.
    """
    folder, said, errors = on_ray
    summary, status = json.loads(said[0]), json.loads(said[1])
    assert status == {"status": 0}, errors[0]
    assert summary["workers"] == 2
    _, alone = run(tmp_path / "one", small_selection, strategy="locked-text-gated-image", gated_blocks=1)
    together = read_log(str(folder / "two" / "log.jsonl"))
    np.testing.assert_allclose(losses(together), losses(alone), rtol=0, atol=1e-5)
    one, two = (load_file(place / "open_clip_model.safetensors") for place in (tmp_path / "one", folder / "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-5)


def test_what_a_ray_worker_raises_reads_as_without_ray(on_ray: tuple[Path, list[str], list[str]]) -> None:
    _, said, errors = on_ray
    assert json.loads(said[-1]) == {"status": 2}, errors[1]
    assert "selected no rows, so there is nothing to learn from" in errors[1].strip().splitlines()[-1]
    assert "Traceback" not in errors[1]


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
