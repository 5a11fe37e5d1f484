"""The plan of a run measures its samples, and says what fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from customize.lmm.model.plan import Hardware
from index.errors import BadInput
from jobs.tune_plan import parse_hardware, plan_lines, plan_run
from tests.customize.lmm.model.checkpoints import write_llava
from tests.customize.lmm.train.tiny_run import config, write_records


def test_gpus_are_a_name_and_a_number() -> None:
    assert parse_hardware("H100").gpus == 1
    assert parse_hardware("A100-80GB:4").memory == 80e9
    for text in ("A100-80GB:0", "A100-80GB:x", "A100-80GB:-1"):
        with pytest.raises(BadInput, match="write GPU:NUMBER"):
            parse_hardware(text)


def test_a_plan_counts_samples_tokens_and_images(tmp_path: Path) -> None:
    """A mixture of as many pairs as texts: one image a sample in the mean."""
    model = write_llava(tmp_path / "model")
    sources = [write_records(tmp_path, "pairs", 20, images=2), write_records(tmp_path, "text", 20, images=0)]
    asked = config(tmp_path / "out", model, *sources, steps=None, epochs=3.0, cache_features=True)
    plan = plan_run(asked, Hardware(1, 24e9, 1e14))
    assert (plan.samples, plan.steps, plan.images, plan.measured) == (120, 30, 1.0, 40)
    assert plan.fits
    assert plan.cache_bytes == 40 * 4 * 32 * 2
    shown = dict(plan_lines(plan))
    assert shown["memory of a GPU"] == f"{sum(plan.memory.values()) / 1e9:.1f} GB of 24.0 GB, fits"
    assert shown["memory of a GPU: frozen weights"] == "0.1 MB"
    assert shown["time"] == "less than a minute on 1 GPU"
    small = plan_run(replace(asked, steps=7), Hardware(1, 1e9, 1e14))
    assert (small.samples, small.fits) == (28, False)
    assert small.checkpointed is not None
    assert "does not fit; with --grad-checkpoint it takes" in str(dict(plan_lines(small))["memory of a GPU"])
    last = plan_run(replace(asked, grad_checkpoint=True), Hardware(4, 1e9, 1e14))
    assert last.checkpointed is None
    assert "does not fit: try --shard-model" in str(dict(plan_lines(last))["memory of a GPU"])
    assert str(dict(plan_lines(last))["time"]).endswith("on 4 GPUs")


def test_hours_minutes_and_sizes_are_shown_in_their_own_unit(tmp_path: Path) -> None:
    asked = config(tmp_path / "out", write_llava(tmp_path / "model"), write_records(tmp_path, "pairs", 4))
    plan = plan_run(asked, Hardware(1, 24e9, 1e14))
    for hours, shown in ((28.72, "28.7 hours"), (0.5, "30 minutes"), (1 / 60, "1 minute")):
        assert dict(plan_lines(replace(plan, hours=hours)))["time"] == f"{shown} on 1 GPU"
    memory = {"weights": 27.34e9, "logits": 0.64e9, "other": 1.2e6}
    lines = dict(plan_lines(replace(plan, memory=memory)))
    assert [lines[f"memory of a GPU: {name}"] for name in memory] == ["27.3 GB", "640 MB", "1.2 MB"]


@pytest.mark.parametrize("content", ["{", None])
def test_a_tokenizer_that_cannot_be_read_is_one_line(tmp_path: Path, content: str | None) -> None:
    model, source = write_llava(tmp_path / "model"), write_records(tmp_path, "pairs", 2)
    (model / "tokenizer.json").unlink()
    if content is not None:
        (model / "tokenizer.json").write_text(content)
    with pytest.raises(BadInput, match=r"model: cannot be loaded"):
        plan_run(config(tmp_path / "out", model, source), Hardware(1, 24e9, 1e14))
