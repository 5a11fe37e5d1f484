"""The tune job on Ray: two workers take one worker's steps, also where they resume its run."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from customize.lmm.model.source import LmmSource
from customize.lmm.train.config import TuneConfig
from customize.lmm.train.log import TuneRecord, read_records
from index.errors import BadInput
from jobs.tune_job import TuneProgress, absolute_config, run_tune
from tests.customize.lmm.model.checkpoints import write_llava
from tests.customize.lmm.train.tiny_run import config, losses, run, write_records
from tests.jobs.test_customize_job import RUN_ALL

ASKED = "--executor ray --workers 2 --stage cad --steps 5 --batch-size 4 --lr 1e-2 --projector-lr 1e-3 --lora-rank 4"
MORE = "--lora-alpha 8 --lora-dropout 0 --template vicuna_v1_no_system --device cpu --json"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a tiny model, and two sources of samples."""
    folder = tmp_path_factory.mktemp("material")
    model = write_llava(folder / "model")
    return model, [write_records(folder, "single", 9), write_records(folder, "text", 7, images=0, seed=1)]


@pytest.fixture(scope="module")
def on_ray(
    material: tuple[Path, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], list[str]]:
    """The command on Ray Train, in one process of its own: resuming one worker's run, and with a source that is gone.

    (folder, stdout lines, stderrs)
    """
    model, sources = material
    folder = tmp_path_factory.mktemp("on_ray")
    run(folder / "two", model, *sources, steps=5, save_every=3)  # by one worker; then its end is taken away
    (folder / "two" / "manifest.json").unlink()
    (folder / "two" / "checkpoints" / "00000005.safetensors").unlink()
    asked = ["--model", str(model), *ASKED.split(), *MORE.split()]
    commands = [
        ["tune", *(part for each in given for part in ("--data", each)), "--out", str(folder / name), *asked]
        for name, given in (("two", sources), ("none", [str(folder / "gone.json")]))
    ]
    command = [sys.executable, "-c", RUN_ALL, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout.splitlines(), done.stderr.split("-- next --")


def test_two_ray_workers_take_one_workers_steps(
    on_ray: tuple[Path, list[str], list[str]], material: tuple[Path, list[str]], tmp_path: Path
) -> None:
    """To a tolerance: two halves of a batch add up in another order than the whole."""
    folder, said, errors = on_ray
    model, sources = material
    assert json.loads(said[1]) == {"status": 0}, errors[0]
    assert json.loads(said[0])["workers"] == 2
    _, alone = run(tmp_path / "one", model, *sources, steps=5)
    assert losses(read_records(str(folder / "two" / "log.jsonl"))) == pytest.approx(losses(alone), abs=1e-4)
    one = load_file(tmp_path / "one" / "adapter_model.safetensors")
    two = load_file(folder / "two" / "adapter_model.safetensors")
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=0, atol=1e-4, msg=key)


def test_what_a_ray_worker_raises_reads_as_without_ray(on_ray: tuple[Path, list[str], list[str]]) -> None:
    _, said, errors = on_ray
    assert json.loads(said[-1]) == {"status": 2}, errors[-1]
    assert "gone.json: does not exist" in errors[1].strip().splitlines()[-1]
    assert "Traceback" not in errors[1]


def test_several_workers_need_ray(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--workers 2: several workers train together on Ray"):
        run_tune(config(tmp_path, tmp_path, "pairs"), workers=2)
    with pytest.raises(BadInput, match="--executor spark: training runs on local or ray"):
        run_tune(config(tmp_path, tmp_path, "pairs"), executor="spark")


def test_progress_shows_the_loss_of_each_source_and_the_speed() -> None:
    log = io.StringIO()
    progress = TuneProgress("tune", 2, unit="steps", stream=log, log_seconds=0)
    with progress:
        for step in (1, 2):
            progress.see(TuneRecord(step, 1.5 / step, 1e-3, 1.0, 8, 40, 90, {"a": 1.0, "b": 2.0}, {}, 2.0 * step), 2)
    _, first, last = log.getvalue().splitlines()
    assert first.startswith("tune: 1/2 steps, loss 1.5000 (a 1.000, b 2.000)")
    assert last.startswith("tune: 2/2 steps, loss 0.7500 (a 1.000, b 2.000), 4.0 samples/s")


def test_local_places_become_absolute_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "llava").mkdir()
    given = TuneConfig("out", ("pairs:0.5,images=there", "more.json,count=7"), LmmSource(model="llava", adapter="a/b"))
    found = absolute_config(given)
    assert found.out == str(tmp_path / "out")
    assert found.data == (f"{tmp_path}/pairs:0.5,images={tmp_path}/there", f"{tmp_path}/more.json,count=7")
    assert (found.source.model, found.source.adapter) == (str(tmp_path / "llava"), "a/b")
