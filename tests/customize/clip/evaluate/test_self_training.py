"""Self-training changes a copy of the image tower, without masks."""

from __future__ import annotations

import dataclasses
from typing import Literal

import pytest
import torch

from customize.clip.evaluate import self_training
from customize.clip.evaluate.datasets.dataset import Example, in_memory
from customize.clip.evaluate.dense import DenseFeatures, dense_features
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.segmentation import ClassTexts, Refinement, segment
from customize.clip.evaluate.self_training import SelfTraining, self_train
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import halves, texts_of

PLAIN = Refinement(smoothing=False, denoising=False)


def close_texts(model: EvalModel) -> ClassTexts:
    """Texts close to each other: with texts far apart the loss is 0 from the start, and nothing is learned."""
    texts = texts_of(model)
    middle = texts.vectors.mean(0)
    return ClassTexts(middle + 0.02 * (texts.vectors - middle), texts.classes)


def test_it_needs_no_masks_and_changes_a_copy(tiny: EvalModel) -> None:
    texts = close_texts(tiny)
    bare = in_memory("bare", ("red", "blue"), [Example(one.key, one.open) for one in halves()])
    before = tiny.model.visual.proj.clone()
    learner = self_train(tiny, bare, texts, Refinement(), SelfTraining(steps=4, batch_size=2, lr=1e-3))
    assert torch.equal(tiny.model.visual.proj, before)
    assert not torch.equal(learner.model.visual.proj, before)
    assert segment(learner, halves(), texts, PLAIN).mean_iou > 0.8


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_it_learns_in_the_models_precision(
    precision: Literal["bf16", "fp16"], tiny: EvalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = dataclasses.replace(tiny, precision=precision)
    seen: list[torch.dtype] = []

    def spied(asked: EvalModel, pixels: torch.Tensor) -> DenseFeatures:
        if torch.is_autocast_enabled("cpu"):
            seen.append(torch.get_autocast_dtype("cpu"))
        return dense_features(asked, pixels)

    monkeypatch.setattr(self_training, "dense_features", spied)
    plan = SelfTraining(steps=2, batch_size=2, lr=1e-3)
    learner = self_train(model, halves(), close_texts(tiny), Refinement(), plan)
    assert learner.precision == precision
    assert seen == [getattr(torch, {"bf16": "bfloat16", "fp16": "float16"}[precision])] * 4
    assert not torch.equal(learner.model.visual.proj, tiny.model.visual.proj)


def test_a_training_set_without_images_is_refused(tiny: EvalModel) -> None:
    with pytest.raises(BadInput, match="bare: has no images"):
        self_train(tiny, in_memory("bare", ("red", "blue"), []), texts_of(tiny), Refinement())


def test_a_loss_that_is_not_finite_is_refused(tiny: EvalModel) -> None:
    texts = texts_of(tiny)
    with pytest.raises(BadInput, match="the loss is not finite after 0 steps"):
        self_train(tiny, halves(), ClassTexts(texts.vectors * float("nan"), texts.classes), PLAIN)
