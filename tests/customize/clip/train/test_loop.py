"""The loop resumes from its last checkpoint, stops at a loss that is not finite, and warns of a collapse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from customize.clip.train.checkpoint import last_checkpoint
from customize.clip.train.distributed import Worker
from customize.clip.train.log import StepRecord, read_log
from customize.clip.train.loop import Loop
from customize.clip.train.prepare import Run, prepare_run
from index.encoder.model_spec import ModelSpec
from index.errors import ClipmineError
from tests.customize.clip.train.runs import config

Prepare = Callable[..., Run]


def test_it_trains_to_the_last_step_and_checkpoints_on_the_way(prepare: Prepare, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    loop = Loop(prepare(save_every=4), on_step=lambda record, total: seen.append((record.step, total)))
    loop.run()
    assert seen == [(step, 6) for step in range(1, 7)]
    folder = tmp_path / "model" / "checkpoints"
    assert sorted(path.stem for path in folder.iterdir()) == ["00000004", "00000006"]
    assert loop.rate > 0


def test_it_starts_at_the_last_checkpoint(prepare: Prepare, tmp_path: Path) -> None:
    whole = Loop(prepare(save_every=4, ema=0.5))
    whole.run()
    log = str(tmp_path / "model" / "log.jsonl")
    expected = read_log(log)
    (tmp_path / "model" / "checkpoints" / "00000006.safetensors").unlink()
    resumed = Loop(prepare(save_every=4, ema=0.5))
    assert resumed.step == 4
    resumed.run()
    for record, same in zip(read_log(log), expected, strict=True):
        assert record.step == same.step
        assert record.loss == pytest.approx(same.loss, abs=1e-5)  # to rounding
    for name, weight in resumed.trained.items():
        torch.testing.assert_close(weight, whole.trained[name], rtol=0, atol=1e-5)
        torch.testing.assert_close(resumed.averages[name], whole.averages[name], rtol=0, atol=1e-5)


def test_a_resumed_resnet_has_the_running_statistics_of_an_uninterrupted_one(
    tiny_resnet: ModelSpec, small_export: str, tmp_path: Path
) -> None:
    asked = config(
        tmp_path / "model", tars=small_export, model=tiny_resnet, strategy="locked-text", save_every=4, lr=1e-4
    )

    def trained() -> dict[str, torch.Tensor]:
        prepared = prepare_run(asked, Worker())
        assert prepared is not None
        Loop(prepared).run()
        return {name: buffer.clone() for name, buffer in prepared.loaded.model.named_buffers() if "running" in name}

    whole = trained()
    (tmp_path / "model" / "checkpoints" / "00000006.safetensors").unlink()
    resumed = trained()
    assert whole
    for name, buffer in resumed.items():
        torch.testing.assert_close(buffer, whole[name], rtol=1e-4, atol=1e-5)


def test_the_average_follows_the_weights_with_its_decay(prepare: Prepare) -> None:
    loop = Loop(prepare(ema=0.5, steps=1))
    before = {name: weight.detach().clone() for name, weight in loop.trained.items()}
    loop.run()
    for name, average in loop.averages.items():
        torch.testing.assert_close(average, (before[name] + loop.trained[name].detach()) / 2)


def test_norms_biases_gates_and_the_temperature_do_not_decay(prepare: Prepare) -> None:
    loop = Loop(prepare(weight_decay=0.3))
    assert loop.optimizer is not None
    decayed = {id(p): group["weight_decay"] for group in loop.optimizer.param_groups for p in group["params"]}
    for name, weight in loop.trained.items():
        assert decayed[id(weight)] == (0.3 if weight.ndim >= 2 else 0.0), name


def test_the_gradient_is_clipped(prepare: Prepare) -> None:
    loop = Loop(prepare(grad_clip=1e-9, steps=1))
    loop.run()
    norms = [weight.grad.norm() for weight in loop.trained.values() if weight.grad is not None]
    assert torch.stack(norms).norm() <= 1.1e-9


def test_a_loss_that_is_not_finite_names_the_keys_and_the_last_good_checkpoint(
    prepare: Prepare, tmp_path: Path
) -> None:
    def poison(record: StepRecord, _: int) -> None:
        if record.step == 3:
            for weight in loop.trained.values():
                weight.data.fill_(torch.nan)

    loop = Loop(prepare(save_every=1), on_step=poison)
    with pytest.raises(ClipmineError, match="step 4: the loss is not finite, at the batch with keys 0000") as caught:
        loop.run()
    good = last_checkpoint(str(tmp_path / "model" / "checkpoints"))
    assert good is not None
    assert good.step == 3
    assert f"the last good checkpoint is {good.path}" in str(caught.value)
    assert caught.value.exit_code == 1


def test_weights_that_are_not_finite_are_never_a_checkpoint(prepare: Prepare, tmp_path: Path) -> None:
    loop = Loop(prepare(strategy="locked-text", lr=1e38, save_every=1, warmup=0))
    with pytest.raises(ClipmineError, match="there is no checkpoint before it; lower --lr"):
        loop.run()
    assert last_checkpoint(str(tmp_path / "model" / "checkpoints")) is None


def test_a_collapse_is_warned_of_once(prepare: Prepare) -> None:
    lines: list[str] = []
    loop = Loop(prepare(steps=25, gamma=-0.99), on_warning=lines.append)  # all texts of a batch are positives
    loop.run()
    assert len(lines) == 1
    assert lines[0].startswith("step 20: 100% of a batch's texts count as one text")
    assert loop.watch.warned


def test_strategy_none_takes_no_steps(prepare: Prepare, tmp_path: Path) -> None:
    loop = Loop(prepare(strategy="none"))
    loop.run()
    assert (loop.total, loop.step) == (0, 0)
    assert not (tmp_path / "model" / "log.jsonl").exists()
