"""The two refinements of MaskCLIP, mIoU against masks, and masks that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from customize.clip.evaluate.datasets.dataset import Example, in_memory
from customize.clip.evaluate.dense import DenseFeatures
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.segmentation import ClassTexts, Refinement, class_texts, patch_scores, segment
from index.errors import BadInput
from tests.customize.clip.evaluate.conftest import halves, texts_of

PLAIN = Refinement(smoothing=False, denoising=False)


def test_patches_get_the_class_of_the_nearest_text(tiny: EvalModel) -> None:
    found = segment(tiny, halves(), texts_of(tiny), PLAIN, batch_size=3)
    assert found.mean_iou > 0.8
    assert found.images == 4
    assert set(found.per_class) == {"red", "blue"}


def test_images_are_segmented_at_another_resolution_and_in_windows(tiny: EvalModel) -> None:
    for choices in ({"resolution": 64}, {"resolution": 64, "window": 32}, {"resolution": 30}):
        found = segment(tiny, halves(), texts_of(tiny), PLAIN, **choices)
        assert found.mean_iou > 0.8, choices
    with pytest.raises(BadInput, match="window 20: must be a multiple of the patch of 8"):
        segment(tiny, halves(), texts_of(tiny), PLAIN, resolution=64, window=20)


def test_more_pixels_find_smaller_things(tiny: EvalModel) -> None:
    """Stripes of 4 pixels, half of a patch: only at twice the resolution does a patch see one of them alone."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    stripe = (np.arange(32) // 4 % 2 == 0).repeat(32).reshape(32, 32).T
    pixels[stripe, 0] = pixels[~stripe, 2] = 255
    mask = (~stripe).astype(np.uint8)
    shown = [Example("stripes", lambda: Image.fromarray(pixels), mask=lambda: mask)]
    data = in_memory("stripes", ("red", "blue"), shown)
    own, large = (segment(tiny, data, texts_of(tiny), PLAIN, resolution=side) for side in (None, 128))
    assert large.mean_iou > own.mean_iou + 0.1


def test_a_class_without_a_high_score_is_dropped() -> None:
    vectors = torch.tensor([[[[1.0, 0.0], [0.995, 0.1]]]])
    found = DenseFeatures(vectors, torch.zeros(1, 2, 2))
    third = np.array([[1, 0], [0, 1], [0.999, 0.0447]], np.float32)
    texts = ClassTexts(third, np.arange(3))
    plain = patch_scores(found, texts, PLAIN)
    denoised = patch_scores(found, texts, Refinement(smoothing=False))
    assert plain[..., 1].max() < 1e-6
    assert denoised[..., 1].max() == 0  # no patch has half of its score on it
    torch.testing.assert_close(denoised.sum(-1), torch.ones(1, 1, 2))


def test_patches_with_the_same_key_get_the_same_class() -> None:
    vectors = torch.tensor([[[[1.0, 0.0], [1.0, 0.0], [0.7, 0.714]]]])
    keys = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
    texts = ClassTexts(np.eye(2, dtype=np.float32), np.arange(2))
    assert patch_scores(DenseFeatures(vectors, keys), texts, PLAIN).argmax(-1).tolist() == [[[0, 0, 1]]]
    smoothed = patch_scores(DenseFeatures(vectors, keys), texts, Refinement(denoising=False))
    assert smoothed.argmax(-1).tolist() == [[[0, 0, 0]]]


def test_a_background_may_have_several_names(tiny: EvalModel) -> None:
    texts = class_texts(tiny, ("background", "dog"), ["a {}"], background=("sky", "ground"))
    assert texts.classes.tolist() == [0, 0, 1]
    found = DenseFeatures(torch.from_numpy(texts.vectors[1]).view(1, 1, 1, -1), torch.ones(1, 1, 1))
    assert patch_scores(found, texts, PLAIN).argmax().item() == 0


def test_an_image_without_mask_and_a_mask_beyond_the_classes_are_named(tiny: EvalModel) -> None:
    texts = texts_of(tiny)
    bare = in_memory("bare", ("red", "blue"), [Example("one", next(iter(halves())).open)])
    with pytest.raises(BadInput, match="one: has no mask"):
        segment(tiny, bare, texts, PLAIN)
    wrong = [Example("two", next(iter(halves())).open, mask=lambda: np.full((32, 32), 9, np.uint8))]
    with pytest.raises(BadInput, match="two: its mask has class 9, the task has 2"):
        segment(tiny, in_memory("wrong", ("red", "blue"), wrong), texts, PLAIN)
