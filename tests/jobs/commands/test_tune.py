"""`clipmine tune`: what it says of a run, its defaults, its plan, and what cannot be tuned."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from customize.lmm.data.source_spec import OPTIONS
from customize.lmm.model.plan import GPUS
from customize.lmm.train.config import TuneConfig
from jobs.cli import run
from jobs.commands.tune import command
from tests.customize.lmm.model.checkpoints import write_llava
from tests.customize.lmm.train.tiny_run import write_records

SMALL = "--stage cad --steps 3 --batch-size 4 --lora-rank 2 --template vicuna_v1_no_system --device cpu"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llava(tmp_path_factory.mktemp("llava") / "model")


def test_it_says_what_was_trained_and_its_numbers_add_up(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_records(tmp_path, "photos", 6)
    records = json.loads(Path(source).read_text())
    records[0]["image"] = "gone.png"
    Path(source).write_text(json.dumps(records))
    out = tmp_path / "out"
    assert run(["tune", "--data", source, "--model", str(model), "--out", str(out), *SMALL.split()]) == 0
    printed = capfd.readouterr()
    assert re.search(r"tune: 3/3 steps, loss \d\.\d+", printed.err)
    lines = dict(re.findall(r"^(.+?)  +(\d+)$", printed.out, re.MULTILINE))
    assert lines["photos.json: samples"] == "6"
    assert lines["- left out: a missing image"] == "1"
    assert lines["- usable"] == "5"
    assert lines["- taken"] == lines["samples taken"] == lines["samples trained"]
    assert f"adapter  {out}".split() == next(line for line in printed.out.splitlines() if "adapter" in line).split()
    assert (out / "adapter_model.safetensors").exists()
    assert (out / "README.md").exists()


def test_a_plan_needs_no_weights_and_trains_nothing(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_records(tmp_path, "photos", 40)
    asked = ["--data", source, "--model", str(model), "--out", str(tmp_path / "out"), "--stage", "cad"]
    assert run(["tune", *asked, "--plan", "A100-80GB:4", "--json"]) == 0
    plan = json.loads(capfd.readouterr().out)
    assert (plan["gpus"], plan["samples"], plan["steps"], plan["fits"]) == (4, 40, 1, True)
    assert plan["images"] == 1.0
    assert 40 < plan["tokens"] < 120
    assert not (tmp_path / "out").exists()
    assert run(["tune", *asked, "--plan", "TPU:4"]) == 2
    assert "GPU 'TPU': choose RTX-4090" in capfd.readouterr().err
    assert run(["tune", *asked, "--plan", "H100:0"]) == 2
    assert "write GPU:NUMBER" in capfd.readouterr().err


def test_the_help_lists_gpus_and_options_of_a_source(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["tune", "--help"]) == 0
    text = " ".join(capfd.readouterr().out.replace("A100-\n", "A100-").split())
    assert f"GPU: {', '.join(GPUS)}." in text
    assert all(f"{name} {meaning}" in text for name, meaning in OPTIONS.items())


def configured(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> TuneConfig:
    """The configuration that the command makes of its arguments; nothing is trained."""
    seen: list[TuneConfig] = []

    def stop(config: TuneConfig, **_: Any) -> None:
        seen.append(config)
        raise RuntimeError("not trained")

    monkeypatch.setattr("jobs.tune_job.run_tune", stop)
    asked = ["--stage", "cad", "--data", "pairs", "--model", "llava", "--out", "out"]
    with pytest.raises(RuntimeError, match="not trained"):
        command.main([*asked, *arguments], standalone_mode=False)
    return seen[0]


def test_defaults_are_those_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the letter: a run of the command continues one that Python code began."""
    plain = TuneConfig("out", ("pairs",), "llava", stage="cad")
    assert configured(monkeypatch).identity({}, "data") == plain.identity({}, "data")


def test_options_reach_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    given = configured(monkeypatch, "--data", "more:0.5", "--full", "--lr", "1e-4", "--projector", "mm_projector.bin")
    assert given.data == ("pairs", "more:0.5")
    assert (given.train, given.recipe.lr, given.source.projector) == ("full", 1e-4, "mm_projector.bin")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere.json"], "nowhere.json: does not exist"),
        (["--data", "pairs", "--steps", "3", "--epochs", "2"], "--epochs would have no effect with --steps"),
        (["--data", "pairs", "--full", "--lora-rank", "4"], "--lora-rank would have no effect without adapters"),
        (["--data", "pairs", "--generate-every", "4"], "--generate-every would have no effect without --generate-on"),
        (["--data", "pairs", "--vision-tower", "clip"], "one checkpoint"),
        (["--data", "pairs", "--lr", "0"], "--lr 0.0: must be a number above 0"),
        (["--data", "pairs,colour=red"], "unknown option 'colour'"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["tune", "--stage", "cad", "--model", "llava", "--out", str(tmp_path / "out"), *arguments]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert message in line


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, jobs.commands.tune; print([m for m in ('torch', 'transformers', 'ray') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
