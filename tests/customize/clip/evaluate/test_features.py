"""Features do not depend on the batch beyond rounding, and the model keeps its mode."""

from __future__ import annotations

import numpy as np
import pytest

from customize.clip.evaluate.datasets.dataset import Example
from customize.clip.evaluate.features import EvalModel, image_features, text_features, unit
from index.errors import BadInput


def test_the_batch_size_changes_features_by_rounding_only(tiny: EvalModel, pictures: list[Example]) -> None:
    one = image_features(tiny, iter(pictures[:5]), batch_size=1)
    all_at_once = image_features(tiny, iter(pictures[:5]), batch_size=5)
    assert one.vectors.dtype == np.float32
    np.testing.assert_allclose(one.vectors, all_at_once.vectors, atol=1e-5)
    assert one.keys == tuple(example.key for example in pictures[:5])


def test_a_model_in_training_stays_in_training(tiny: EvalModel, pictures: list[Example]) -> None:
    tiny.model.train()
    try:
        image_features(tiny, iter(pictures[:1]))
        text_features(tiny, ["a dog"])
        assert tiny.model.training
    finally:
        tiny.model.eval()


def test_bf16_is_close_to_fp32(tiny: EvalModel, pictures: list[Example]) -> None:
    half = EvalModel(tiny.model, tiny.preprocess, tiny.tokenizer, "bf16")
    exact, near = (unit(image_features(model, iter(pictures[:4])).vectors) for model in (tiny, half))
    assert (exact * near).sum(1).min() > 0.999
    assert not np.array_equal(exact, near)


def test_no_image_is_an_error(tiny: EvalModel) -> None:
    with pytest.raises(BadInput, match="has no images"):
        image_features(tiny, iter([]))


def test_a_zero_row_stays_zero() -> None:
    assert unit(np.array([[0.0, 0.0], [3.0, 4.0]], np.float32)).tolist() == [
        [0, 0],
        [pytest.approx(0.6), pytest.approx(0.8)],
    ]
