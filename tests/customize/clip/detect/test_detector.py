"""The detector: its losses, what it finds, and classes that it was not trained with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from customize.clip.detect.config import Recipe
from customize.clip.detect.detector import build_detector, detecting
from tests.customize.clip.detect.conftest import RECIPE, SIDE, tower

TEXTS = torch.randn(3, 16, generator=torch.Generator().manual_seed(3))


def made(recipe: Recipe = RECIPE, classes: int = 2) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_detector(tower(), TEXTS[:classes], recipe, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).eval()


def image(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def target() -> dict[str, torch.Tensor]:
    return {"boxes": torch.tensor([[4.0, 4.0, 30.0, 40.0]]), "labels": torch.tensor([2])}


def test_training_gives_four_losses_with_gradients_for_the_trained_stages_alone() -> None:
    detector = made().train()
    losses = detector([image()], [target()])
    assert set(losses) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    sum(losses.values()).backward()
    with_gradient = {name for name, parameter in detector.named_parameters() if parameter.grad is not None}
    assert not any(name.startswith(("backbone.stem", "backbone.stages.0")) for name in with_gradient)
    for part in ("backbone.stages.2", "rpn.head", "roi_heads.box_head.attnpool", "roi_heads.box_predictor.box"):
        assert any(name.startswith(part) for name in with_gradient), part


def test_batch_norms_are_frozen() -> None:
    detector = made().train()
    before = {name: buffer.clone() for name, buffer in detector.named_buffers()}
    detector([image()], [target()])
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(before[name], buffer) for name, buffer in detector.named_buffers())
    assert not any(".bn1." in name for name, _ in detector.named_parameters())


@pytest.mark.parametrize("focal", [0.0, 0.5])
def test_the_classification_loss_weighs_the_background_and_scales_by_confidence(focal: float) -> None:
    heads = made(replace(RECIPE, focal=focal, background_weight=0.2)).roi_heads
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.5, 0.0, 1.0]])
    labels = torch.tensor([0, 2])
    found = heads._losses(logits, torch.zeros(2, 4), labels, torch.ones(2, 4))
    likely = logits.softmax(-1)[[0, 1], labels]
    each = -likely.log() * (1 - likely) ** focal * torch.tensor([0.2, 1.0])
    torch.testing.assert_close(found["loss_classifier"], each.mean())
    torch.testing.assert_close(found["loss_box_reg"], torch.tensor(4.0 / 2))  # of the one object, over both boxes


def test_a_box_that_is_surely_right_has_a_finite_gradient() -> None:
    logits = torch.tensor([[0.0, 200.0, 0.0]], requires_grad=True)
    losses = made().roi_heads._losses(logits, torch.zeros(1, 4), torch.tensor([1]), torch.zeros(1, 4))
    losses["loss_classifier"].backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_it_finds_classes_that_it_was_not_trained_with() -> None:
    detector, seen = made(replace(RECIPE, temperature=0.1)), []
    hook = detector.roi_heads.box_head.register_forward_hook(lambda module, given, vectors: seen.append(vectors))
    with detecting(detector, TEXTS):
        detector([image()])
    hook.remove()
    likely = torch.stack([-seen[0].mean(0), -seen[0].mean(0), functional.normalize(seen[0].mean(0), dim=0)])
    with detecting(detector, likely):
        [found] = detector([image()])
    assert len(found["boxes"]) > 0
    assert found["labels"][0] == 2
    assert float(found["boxes"].min()) >= 0
    assert float(found["boxes"].max()) <= SIDE
    assert bool((found["scores"].diff() <= 0).all())


def test_afterwards_it_trains_on_its_own_classes_again() -> None:
    detector = made().train()
    own = detector.roi_heads.box_predictor.texts
    with detecting(detector, TEXTS):
        assert not detector.training
        assert len(detector.roi_heads.box_predictor.texts) == 3
    assert detector.training
    assert detector.roi_heads.box_predictor.texts is own


def test_objectness_makes_a_score_the_root_of_both_probabilities() -> None:
    detector = made()
    with detecting(detector, TEXTS):
        [plain] = detector([image()])
        detector.roi_heads.recipe = replace(RECIPE, objectness=True)
        [both] = detector([image()])
    objectness = detector.roi_heads.objectness[0]
    assert len(objectness) > 0
    # Each score is the root of a plain one times an objectness.
    candidates = (plain["scores"][:, None] * objectness[None]).sqrt()
    kept = [score for score in both["scores"] if float((candidates - score).abs().min()) < 1e-5]
    assert float(both["scores"][0]) > float(plain["scores"][0]) * float(objectness.min())
    assert kept


def test_an_image_without_proposals_has_no_boxes() -> None:
    detector = made()
    detector.rpn.score_thresh = 2.0
    with detecting(detector, TEXTS):
        [found] = detector([image()])
    assert found["boxes"].shape == (0, 4)
