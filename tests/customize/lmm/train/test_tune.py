"""A run from its data to its model: it resumes to the same curve, adds up, and stops at a loss that is not finite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from customize.lmm.model.load import load_lmm
from customize.lmm.model.source import LmmSource
from customize.lmm.train.log import TuneRecord, read_records
from customize.lmm.train.tune import tune
from index.errors import BadInput, ClipmineError, OutputExists
from tests.customize.lmm.train.conftest import Material
from tests.customize.lmm.train.tiny_run import config, losses, run, write_records

# Runs the configuration given as JSON, slowed down so that a kill comes between its steps.
SLOWLY = """
import json, sys, time
from pathlib import Path
from tests.customize.lmm.train.tiny_run import config
from customize.lmm.train.tune import tune
out, model, data, choices = json.loads(sys.argv[1])
tune(config(Path(out), Path(model), *data, **choices), on_step=lambda *_: time.sleep(0.05))
"""


def test_a_killed_run_resumes_to_the_curve_of_an_uninterrupted_one(material: Material, tmp_path: Path) -> None:
    """Killed with SIGKILL after its second checkpoint; LoRA with dropout, whose draws follow from the step."""
    choices = {"save_every": 3, "steps": 14, "lora_dropout": 0.1}
    _, whole = run(tmp_path / "whole", material.model, *material.sources, **choices)
    out = tmp_path / "killed"
    given = json.dumps([str(out), str(material.model), material.sources, choices])
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, given])
    deadline = time.monotonic() + 120
    while not (out / "checkpoints" / "00000006.safetensors").exists():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists()
    seen: list[int] = []
    summary = tune(
        config(out, material.model, *material.sources, **choices), on_step=lambda record, _: seen.append(record.step)
    )
    assert seen[0] in range(7, 14)
    assert seen[-1] == 14
    resumed = read_records(str(out / "log.jsonl"))
    assert [record.step for record in resumed] == list(range(1, 15))
    assert losses(resumed) == pytest.approx(losses(whole), abs=1e-5)
    assert (summary.taken, summary.trained) == (
        14 * 4 - 6,
        14 * 4 - 6,
    )  # 21 samples an epoch: batches of 4, 4, 4, 4, 4, 1
    one, two = (load_file(place / "adapter_model.safetensors") for place in (tmp_path / "whole", out))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("sigint_obeyed")
def test_an_interrupted_run_repeats_no_step(material: Material, tmp_path: Path) -> None:
    """Ctrl-C at the third step, with checkpoints every 100 steps."""
    seen: list[int] = []

    def interrupt(record: TuneRecord, total: int) -> None:
        seen.append(record.step)
        if record.step == 3:
            signal.raise_signal(signal.SIGINT)

    given = config(tmp_path / "out", material.model, material.text, save_every=100)
    with pytest.raises(KeyboardInterrupt):
        tune(given, on_step=interrupt)
    tune(given, on_step=interrupt)
    assert seen == [1, 2, 3, 4, 5, 6]


def test_batching_parts_and_the_cache_do_not_change_the_curve(material: Material, tmp_path: Path) -> None:
    _, plain = run(tmp_path / "plain", material.model, *material.sources, cache_features=False)
    ways: dict[str, dict[str, Any]] = {
        "packed": {"batching": "packed"},
        "parts": {"part_tokens": 60},
        "cached": {"cache_features": True},
        "checkpointing": {"grad_checkpoint": True},
    }
    for name, choices in ways.items():
        summary, other = run(tmp_path / name, material.model, *material.sources, **choices)
        assert losses(other) == pytest.approx(losses(plain), abs=1e-5), name
        assert summary.images == ("cached features" if name == "cached" else "the vision tower")


def test_every_kind_of_training_lowers_the_loss(material: Material, tmp_path: Path) -> None:
    for train, stage, template in (("projector", "align", "plain"), ("lora", "instruct", None), ("full", "cad", None)):
        choices = {"stage": stage, "train": train, "steps": 20, "template": template or "vicuna_v1_no_system"}
        summary, records = run(tmp_path / train, material.model, material.single, **choices)
        assert records[-1].loss < records[0].loss
        assert (summary.trainable["language model"] > 0) == (train != "projector")
        assert summary.trainable["projector"] > 0


def test_the_summary_adds_up(material: Material, tmp_path: Path) -> None:
    """A sample that is too long, one without an answer, one whose image is gone, one whose image is broken."""
    records = json.loads(Path(material.single).read_text())
    records[0]["conversations"][1]["value"] = "word " * 200
    records[1]["conversations"][1]["value"] = " "
    records[2]["image"] = "gone.png"
    broken = Path(material.single).parent / "images" / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    records[3]["image"] = broken.name
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps(records))
    source = f"{path},images={broken.parent},name=mixed"
    summary, _ = run(tmp_path / "out", material.model, source, material.text, max_length=200, epochs=2.0, steps=None)
    own = summary.sources["mixed"]
    assert own.samples == 10
    assert sum(own.left_out.values()) == 3
    assert own.left_out["longer than the context"] == 1
    assert own.samples == own.usable + sum(own.left_out.values())
    assert (own.taken, own.unreadable) == (14, 2)
    assert summary.taken == summary.trained + summary.unreadable == 24
    assert any("gone.png" in line for line in summary.named)
    assert sum(record.samples for record in read_records(str(tmp_path / "out" / "log.jsonl"))) == summary.trained


def test_a_loss_that_is_not_finite_names_the_samples_and_keeps_the_last_checkpoint(
    material: Material, tmp_path: Path
) -> None:
    """A learning rate that throws the weights out of all range in the first step."""
    out = tmp_path / "out"
    with pytest.raises(
        ClipmineError, match=r"step 2: the loss is not finite, at the batch with samples .*-\d+"
    ) as error:
        run(out, material.model, *material.sources, train="full", lr=1e30, save_every=1)
    (checkpoint,) = (out / "checkpoints").iterdir()
    assert f"the last good checkpoint is {checkpoint}; lower --lr" in str(error.value)
    assert not (out / "manifest.json").exists()
    assert len(read_records(str(out / "log.jsonl"))) == 1


def test_a_finished_run_is_read_and_another_one_is_refused(material: Material, tmp_path: Path) -> None:
    summary, _ = run(tmp_path / "out", material.model, material.single)
    assert tune(config(tmp_path / "out", material.model, material.single)) == summary
    with pytest.raises(OutputExists, match="another configuration"):
        run(tmp_path / "out", material.model, material.single, lr=0.5)


def test_a_source_that_is_not_there_is_one_line_before_a_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.json: does not exist"):
        tune(config(tmp_path / "out", tmp_path / "no-model", str(tmp_path / "nowhere.json")))


def test_the_card_has_what_was_trained_on_what_and_the_losses(material: Material, tmp_path: Path) -> None:
    summary, _ = run(tmp_path / "out", material.model, f"{material.single}:3", f"{material.text}:1")
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| projector | {summary.trainable['projector']:,} |" in card
    assert f"| single.json | 10 | {summary.sources['single.json'].taken} | 3 |" in card
    assert f"| all, last tenth | {summary.last_loss:.6g} |" in card
    name, loss = next(iter(summary.loss_by_source.items()))
    assert f"| {name}, last tenth | {loss:.6g} |" in card
    assert f'folder = "{tmp_path}/out"  # this folder' in card  # the code that loads it runs as it is


def test_the_models_of_a_run_load_again(material: Material, tmp_path: Path) -> None:
    """Merged, adapter and projector of one run compute the same."""
    summary, _ = run(tmp_path / "out", material.model, material.single, export="both")
    merged = load_lmm(LmmSource(model=summary.exported["merged"]))
    adapted = load_lmm(LmmSource(model=str(material.model), adapter=summary.exported["adapter"]))
    ids = torch.arange(10, 40)[None]
    torch.testing.assert_close(
        merged.model(input_ids=ids).logits, adapted.model(input_ids=ids).logits, atol=1e-5, rtol=0
    )
    aligned = load_lmm(LmmSource(model=str(material.model), projector=summary.exported["projector"]))
    features = torch.randn(1, 4, 32)
    torch.testing.assert_close(
        aligned.llava.model.multi_modal_projector(features), merged.llava.model.multi_modal_projector(features)
    )


def test_the_model_answers_held_out_samples_while_it_trains(material: Material, tmp_path: Path) -> None:
    choices = {"generate_on": material.pairs, "generate_every": 4, "generate_count": 2, "generate_tokens": 4}
    run(tmp_path / "out", material.model, material.single, **choices)
    lines = [json.loads(line) for line in (tmp_path / "out" / "generations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 4, 6, 6]
    assert lines[0]["question"].endswith("What? ASSISTANT:")
    assert all(line["source"] == "pairs.json" and line["expected"] for line in lines)


def test_a_run_none_of_whose_images_can_be_read_is_an_error(material: Material, tmp_path: Path) -> None:
    source = write_records(tmp_path, "broken", 5)
    for image in (tmp_path / "images").iterdir():
        image.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    for name, cache in (("cached", True), ("tower", False)):
        with pytest.raises(BadInput, match=r"no sample was trained: each of the \d+ taken has an image that cannot"):
            run(tmp_path / name, material.model, source, steps=2, cache_features=cache)
        assert not (tmp_path / name / "manifest.json").exists()


def test_a_damaged_summary_is_named_and_written_anew(material: Material, tmp_path: Path) -> None:
    asked = config(tmp_path / "out", material.model, *material.sources, steps=1)
    summary = tune(asked)
    for damaged in ("{", "[]", '{"a": 1}'):
        (tmp_path / "out/manifest.json").write_text(damaged)
        with pytest.raises(BadInput, match=r"manifest\.json: is damaged; delete it and run the same command again"):
            tune(asked)
    (tmp_path / "out/manifest.json").unlink()
    assert tune(asked).trained == summary.trained
