"""`clipmine customize`: what it says of a run, its defaults, and what cannot be trained."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from customize.clip.strategies import STRATEGIES
from customize.clip.train.config import CustomizeConfig
from index.encoder.model_spec import ModelSpec
from index.store.embedding_store import EmbeddingStore
from jobs.cli import run
from jobs.commands.customize import STRATEGIES as OFFERED
from jobs.commands.customize import command
from tests.jobs.running import Fails


def test_every_strategy_is_offered() -> None:
    assert tuple(STRATEGIES) == OFFERED


def test_it_says_what_was_trained_and_what_was_not_computed(
    known_store: EmbeddingStore, small_selection: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    asked = ["--out", str(out), "--steps", "3", "--batch-size", "8", "--augment", "none", "--device", "cpu", "--json"]
    assert run(["customize", str(known_store.path), small_selection, *asked]) == 0
    printed = capfd.readouterr()
    summary = json.loads(printed.out)
    assert summary["texts"] == "the store"
    assert (summary["steps"], summary["batch"]) == (3, 8)
    assert re.search(r"customize: 3/3 steps, loss \d\.\d+, accuracy 0\.\d+, logit scale", printed.err)
    assert (out / "open_clip_model.safetensors").exists()
    assert (out / "README.md").exists()


def test_a_run_that_ends_worse_says_so_in_its_last_line(
    known_store: EmbeddingStore, small_selection: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = ["--strategy", "full", "--lr", "0.3", "--steps", "20", "--batch-size", "16", "--hold-out", "16"]
    assert run(["customize", str(known_store.path), small_selection, "--out", str(tmp_path / "model"), *asked]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[-1].startswith("the model is worse than the base on the 16 held-out pairs (zero-shot accuracy among 4")
    assert any(re.match(r"held-out loss +\d", line) for line in lines)
    assert any(re.match("augmentation +none", line) for line in lines)


def configured(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> CustomizeConfig:
    """The configuration that the command makes of its arguments; nothing is trained."""
    seen: list[CustomizeConfig] = []

    def stop(config: CustomizeConfig, **choices: Any) -> None:
        seen.append(config)
        raise RuntimeError("not trained")

    monkeypatch.setattr("jobs.customize_job.run_customize", stop)
    with pytest.raises(RuntimeError, match="not trained"):
        command.main(["STORE", "SELECTION", "--out", "model", *arguments], standalone_mode=False)
    return seen[0]


def test_defaults_are_those_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = CustomizeConfig(out="model", store="STORE", selection="SELECTION")
    given = configured(monkeypatch)
    assert dataclasses.asdict(given) == dataclasses.asdict(plain)
    # Also to the letter: a run of the command continues one that a configuration file or Python code began.
    model = ModelSpec("ViT-B-32", "openai")
    assert json.dumps(given.identity(model, "data")) == json.dumps(plain.identity(model, "data"))


def test_the_former_name_of_batch_size_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, "--batch", "16") == configured(monkeypatch, "--batch-size", "16")


def test_plain_clip_has_no_gamma(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured(monkeypatch, "--plain-clip").gamma is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--out OUT", "give STORE and SELECTION, or --tars DIR"),
        ("STORE SELECTION --tars tars --out OUT", "contradict each other"),
        ("STORE SELECTION --out OUT --batch-size 1", "--batch-size 1: a contrastive loss compares"),
        ("STORE SELECTION --out OUT --batch-size 99", "is more than the 33 pairs"),
        ("STORE SELECTION --out OUT --batch 8 --batch-size 8", "--batch is the former name of --batch-size"),
        ("STORE SELECTION --out OUT --precision fp16", "'fp16' is not one of 'auto', 'fp32', 'bf16'"),
        ("STORE SELECTION --out OUT --plain-clip --gamma 0.9", "--gamma"),
        ("STORE SELECTION --out OUT --steps 5 --epochs 2", "--epochs would have no effect with --steps"),
        ("STORE SELECTION --out OUT --workers 2", "add --executor ray"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    arguments: str, said: str, known_store: EmbeddingStore, small_selection: str, tmp_path: Path, fails: Fails
) -> None:
    places = {"STORE": str(known_store.path), "SELECTION": small_selection, "OUT": str(tmp_path / "model")}
    line, status = fails("customize", *(places.get(word, word) for word in arguments.split()))
    assert said in line
    assert status == 2
