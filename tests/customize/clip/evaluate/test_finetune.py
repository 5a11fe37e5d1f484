"""Fine-tuning changes a copy of the image tower and nothing of the model given."""

from __future__ import annotations

import math

import numpy as np
import torch

from customize.clip.evaluate.datasets.dataset import Example, in_memory
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.finetune import finetune
from customize.clip.evaluate.hyperparameters import Hyperparameters, Search
from customize.clip.evaluate.linear_probe import TrainPlan
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
