"""Fine-tuning changes a copy of the image tower and nothing of the model given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from PIL import Image

from customize.clip.evaluate.datasets.dataset import Example, in_memory
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.finetune import _train, finetune
from customize.clip.evaluate.hyperparameters import Hyperparameters, Search
from customize.clip.evaluate.linear_probe import Head, TrainPlan
from tests.customize.clip.evaluate.conftest import CLASSES

TEMPLATES = ("a photo of a {}",)


def test_training_fits_and_leaves_the_model_alone(tiny: EvalModel, pictures: list[Example]) -> None:
    data = in_memory("scenes", CLASSES, pictures[::4])
    before = {name: weight.clone() for name, weight in tiny.model.state_dict().items()}
    plan = TrainPlan(epochs=60, batch_size=8, start="text", fixed=Hyperparameters(0.05, 0.0, 0.0))
    found = finetune(tiny, data, data, TEMPLATES, shots=None, plan=plan)
    assert found.result.score >= 0.75  # the eight images that it was trained on
    assert all(torch.equal(weight, before[name]) for name, weight in tiny.model.state_dict().items())


def test_the_search_and_given_rows_are_used(tiny: EvalModel, pictures: list[Example]) -> None:
    data = in_memory("scenes", CLASSES, pictures[::2])
    search = Search(learning_rates=(1e-2, math.inf), coarse=(0,), first_step=0)
    plan = TrainPlan(epochs=1, search_epochs=1, batch_size=8, search=search)
    found = finetune(tiny, data, data, TEMPLATES, shots=None, chosen=np.arange(0, 16, 2), plan=plan)
    assert found.train_images == 8
    assert found.hyperparameters.lr == 1e-2  # with the other one the loss is not finite


class _Small(torch.nn.Module):
    """A model whose features have tiny gradients: below the smallest number of fp16, 6e-8."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = torch.nn.Linear(3 * 4, 2)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.visual(pixels.flatten(1))
        return features


def test_fp16_keeps_small_gradients() -> None:
    small: Any = _Small()
    model = EvalModel(small, lambda image: torch.ones(3, 2, 2), lambda texts: texts, "fp16")
    head = Head(2, 2, channel_norm=False, scale=1e-8)
    before = small.visual.weight.detach().clone()
    examples = [Example(str(label), lambda: Image.new("RGB", (2, 2)), (label,)) for label in (0, 0, 1, 0)]
    _train(model, head, examples, torch.tensor([0, 0, 1, 0]), TrainPlan(batch_size=4), 1e6, 0.0, 1, 0)
    assert not torch.equal(small.visual.weight, before)
