"""Zero-shot classification of scenes by the CLIP that was trained on scenes."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch

from customize.clip.evaluate.datasets.dataset import Example, in_memory
from customize.clip.evaluate.features import EvalModel, image_features
from customize.clip.evaluate.zero_shot import class_vectors, zero_shot
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import CLASSES

TEMPLATES = ("a photo of a {}", "there is a {}")


def test_class_vectors_are_open_clips(scenes_clip: EvalModel) -> None:
    ours = class_vectors(scenes_clip, CLASSES, TEMPLATES)
    theirs = open_clip.build_zero_shot_classifier(
        scenes_clip.model, lambda texts: scenes_clip.tokens(texts), CLASSES, TEMPLATES
    )
    # open_clip averages normalised prompts too; equal to rounding.
    np.testing.assert_allclose(ours, theirs.T.numpy(), atol=1e-5)


def test_scenes_are_classified_far_above_chance(scenes_clip: EvalModel, pictures: list[Example]) -> None:
    found = zero_shot(scenes_clip, in_memory("scenes", CLASSES, pictures), TEMPLATES)
    assert found.score > 0.6  # chance is 0.25
    assert found.images == 32
    assert sum(right for right, _ in found.per_class.values()) == round(found.score * 32)
    assert {total for _, total in found.per_class.values()} == {8}
    assert found.top5 == 1.0  # of four classes


def test_known_features_are_not_computed_again(scenes_clip: EvalModel, pictures: list[Example]) -> None:
    data = in_memory("scenes", CLASSES, pictures)
    features = image_features(scenes_clip, iter(data))
    broken = EvalModel(scenes_clip.model, lambda image: torch.empty(0), scenes_clip.tokenizer)
    again = zero_shot(broken, data, TEMPLATES, features=features)
    assert np.array_equal(again.predictions, zero_shot(scenes_clip, data, TEMPLATES).predictions)


def test_several_labels_an_image_are_measured_by_map(scenes_clip: EvalModel, pictures: list[Example]) -> None:
    found = zero_shot(scenes_clip, in_memory("scenes", CLASSES, pictures), TEMPLATES, metric="11point_mAP")
    assert 0.6 < found.score <= 1


def test_classes_without_images_are_named_unless_allowed(scenes_clip: EvalModel, pictures: list[Example]) -> None:
    data = in_memory("scenes", (*CLASSES, "submarine"), pictures[:8])
    with pytest.raises(BadInput, match="4 of 5 classes have no images, such as 'guitar'"):
        zero_shot(scenes_clip, data, TEMPLATES)
    assert zero_shot(scenes_clip, data, TEMPLATES, allow_empty=True).images == 8


def test_no_classes_is_an_error(tiny: EvalModel, pictures: list[Example]) -> None:
    with pytest.raises(BadInput, match="no classes to choose from"):
        zero_shot(tiny, in_memory("scenes", (), pictures), TEMPLATES)
