"""A head that starts as the zero-shot classifier, and learns from few images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from customize.clip.evaluate.datasets.dataset import Example, in_memory
from customize.clip.evaluate.features import EvalModel, image_features, unit
from customize.clip.evaluate.hyperparameters import QUICK_SEARCH, Hyperparameters
from customize.clip.evaluate.linear_probe import TrainPlan, build_head, linear_probe, targets_of
from customize.clip.evaluate.zero_shot import class_vectors, zero_shot
from tests.customize.clip.evaluate.conftest import CLASSES

TEMPLATES = ("a photo of a {}", "there is a {}")


def test_the_zero_shot_head_is_the_zero_shot_classifier(scenes_clip: EvalModel, pictures: list[Example]) -> None:
    data = in_memory("scenes", CLASSES, pictures)
    features = image_features(scenes_clip, iter(data))
    rows = class_vectors(scenes_clip, CLASSES, TEMPLATES)
    head = build_head("zero-shot", rows, scenes_clip.logit_scale).eval()
    with torch.no_grad():
        logits = head(torch.from_numpy(features.vectors)).numpy()
    np.testing.assert_allclose(logits, scenes_clip.logit_scale * unit(features.vectors) @ rows.T, rtol=1e-3, atol=1e-3)
    assert np.array_equal(logits.argmax(1), zero_shot(scenes_clip, data, TEMPLATES, features=features).predictions)


def test_a_probe_learns_from_four_images_a_class_and_again_with_the_same_seed(
    scenes_clip: EvalModel, pictures: list[Example]
) -> None:
    train = in_memory("train", CLASSES, pictures[::2])
    test = in_memory("test", CLASSES, pictures[1::2])
    plan = TrainPlan(epochs=20, search_epochs=5, search=QUICK_SEARCH)
    first = linear_probe(scenes_clip, train, test, TEMPLATES, shots=4, seed=0, plan=plan)
    again = linear_probe(scenes_clip, train, test, TEMPLATES, shots=4, seed=0, plan=plan)
    assert first.result.score > 0.7  # chance is 0.25
    assert first.train_images == 16
    # The seed decides the images; rounding may change a prediction near the border of two classes.
    assert again.result.score == pytest.approx(first.result.score, abs=1 / 16)


def test_several_labels_become_a_table_of_zeros_and_ones() -> None:
    assert targets_of([(0,), (2,)], 3).tolist() == [0, 2]
    assert targets_of([(0, 2), ()], 3).tolist() == [[1, 0, 1], [0, 0, 0]]


def test_given_hyperparameters_are_used_without_a_search(tiny: EvalModel, pictures: list[Example]) -> None:
    data = in_memory("scenes", CLASSES, pictures[::4])
    fixed = Hyperparameters(0.01, 0.0, None)
    found = linear_probe(tiny, data, data, TEMPLATES, shots=None, plan=TrainPlan(epochs=1, fixed=fixed))
    assert found.hyperparameters is fixed
