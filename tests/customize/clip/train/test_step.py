"""A step's gradients are those of the whole batch, computed at once or in parts; locked towers get none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from customize.clip.objective import Targets, contrastive_loss
from customize.clip.train.loader import StepInputs
from customize.clip.train.loop import Loop
from customize.clip.train.prepare import Run
from customize.clip.train.step import Measured, TrainStep

Prepare = Callable[..., Run]


def step(run: Run) -> tuple[StepInputs, Measured, dict[str, torch.Tensor]]:
    """The first step's inputs, its figures, and the gradients by name."""
    with Loop(run).loader().steps(0, 1) as steps:
        inputs = next(iter(steps))
    measured = TrainStep(run)(inputs)
    named = run.loaded.model.named_parameters()
    return inputs, measured, {name: weight.grad for name, weight in named if weight.grad is not None}


def test_the_loss_and_its_gradients_are_those_of_the_objective(prepare: Prepare) -> None:
    run = prepare(strategy="full")
    inputs, measured, gradients = step(run)
    model: Any = run.loaded.model
    model.zero_grad()
    assert inputs.tokens is not None
    image = model.encode_image(inputs.images, normalize=True)
    text = model.encode_text(inputs.tokens, normalize=True)
    ids = torch.from_numpy(run.pairs.text_of[inputs.rows]).long()
    expected = contrastive_loss(image, text, model.logit_scale.exp(), Targets(0.9, ids))
    expected.loss.backward()  # type: ignore[no-untyped-call]
    assert measured.loss == pytest.approx(float(expected.loss.detach()), rel=1e-5)
    assert measured.alike == pytest.approx(float(expected.alike))
    for name, weight in model.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", ["locked-text-gated-image", "full", "locked-image"])
def test_parts_give_the_gradients_of_the_whole_batch(strategy: str, prepare: Prepare) -> None:
    _, whole, expected = step(prepare(strategy=strategy))
    _, parts, gradients = step(prepare("parts", strategy=strategy, accumulate=4))
    # Sums in another order: equal to rounding.
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert set(gradients) == set(expected)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("strategy", "tower"), [("locked-text", "visual."), ("locked-image", "transformer."), ("gated-both", "")]
)
def test_only_what_the_strategy_trains_has_gradients(strategy: str, tower: str, prepare: Prepare) -> None:
    run = prepare(strategy=strategy)
    _, _, gradients = step(run)
    assert set(gradients) == {name for name, weight in run.loaded.model.named_parameters() if weight.requires_grad}
    assert any(name.startswith(tower) for name in gradients)


def test_gates_are_reported_by_tower(prepare: Prepare) -> None:
    run = prepare(strategy="gated-both")
    train_step = TrainStep(run)
    assert train_step.gates() == {"image": 0.0, "text": 0.0}
    for name, weight in run.loaded.model.named_parameters():
        if name.startswith("visual.") and name.endswith("alpha_attn"):
            weight.data.fill_(-20.0)  # tanh is -1
    assert train_step.gates() == {"image": pytest.approx(0.5), "text": 0.0}


def test_bf16_computes_the_features_in_bf16(prepare: Prepare) -> None:
    _, exact, _ = step(prepare(strategy="full"))
    _, half, _ = step(prepare("half", strategy="full", precision="bf16"))
    assert half.loss != exact.loss
    assert half.loss == pytest.approx(exact.loss, abs=0.05)
