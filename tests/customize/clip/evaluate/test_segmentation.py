"""Patch features, the two refinements, mIoU, and self-training, on the scenes' masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from customize.clip.evaluate.datasets.dataset import IGNORED, Dataset, Example, in_memory
from customize.clip.evaluate.dense import DenseFeatures, dense_features, dense_side
from customize.clip.evaluate.features import EvalModel
from customize.clip.evaluate.segmentation import ClassTexts, Refinement, class_texts, patch_scores, segment
from customize.clip.evaluate.self_training import SelfTraining, self_train
from index.errors import BadInput

PLAIN = Refinement(smoothing=False, denoising=False)


def _halves(count: int = 4) -> Dataset:
    """Left half red, right half blue, with masks 0 and 1 and one pixel that counts nowhere."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16, 0] = pixels[:, 16:, 2] = 255
    mask = np.zeros((32, 32), np.uint8)
    mask[:, 16:] = 1
    mask[0, 0] = IGNORED
    examples = [Example(str(n), lambda: Image.fromarray(pixels), mask=lambda: mask) for n in range(count)]
    return in_memory("halves", ("red", "blue"), examples)


def _texts_of(model: EvalModel) -> ClassTexts:
    """Text vectors that are the patches' own: what a model that knows red and blue would have."""
    from customize.clip.evaluate.dense import square_pixels

    image = next(iter(_halves())).open()
    with torch.inference_mode():
        found = dense_features(model, square_pixels(model, dense_side(model))(image)[None])
    rows = found.vectors[0].mean(0)
    return ClassTexts(torch.stack([rows[0], rows[-1]]).numpy(), np.array([0, 1]))


def test_patches_keep_their_places_and_the_tower_is_left_as_it_was(tiny: EvalModel) -> None:
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = tiny.model.encode_image(pixels)
        found = dense_features(tiny, pixels)
        # The middle layers mix patches, but the last one does not: one block alone would keep them apart.
        assert found.vectors.shape == (2, 4, 4, 16)
        assert found.keys.shape == (2, 16, 32)
        torch.testing.assert_close(found.vectors.norm(dim=-1), torch.ones(2, 4, 4))
        assert torch.equal(tiny.model.encode_image(pixels), before)


def test_larger_images_have_more_patches(tiny: EvalModel) -> None:
    with torch.inference_mode():
        assert dense_features(tiny, torch.randn(1, 3, 64, 48)).vectors.shape == (1, 8, 6, 16)
    assert dense_side(tiny) == 32
    with pytest.raises(BadInput, match="multiple of the patch of 8"):
        dense_side(tiny, 60)


def test_a_model_that_knows_the_colours_segments_them(tiny: EvalModel) -> None:
    found = segment(tiny, _halves(), _texts_of(tiny), PLAIN, batch_size=3)
    assert found.mean_iou > 0.8
    assert found.images == 4
    assert set(found.per_class) == {"red", "blue"}


def test_an_unsure_class_is_dropped_and_one_always_remains() -> None:
    vectors = torch.tensor([[[[1.0, 0.0], [0.995, 0.1]]]])
    found = DenseFeatures(vectors, torch.zeros(1, 2, 2))
    third = np.array([[1, 0], [0, 1], [0.999, 0.0447]], np.float32)
    texts = ClassTexts(third, np.arange(3))
    plain = patch_scores(found, texts, PLAIN)
    denoised = patch_scores(found, texts, Refinement(smoothing=False))
    assert plain[..., 1].max() < 1e-6
    assert denoised[..., 1].max() == 0  # no patch was ever half sure of it
    torch.testing.assert_close(denoised.sum(-1), torch.ones(1, 1, 2))


def test_patches_with_the_same_key_vote_together() -> None:
    vectors = torch.tensor([[[[1.0, 0.0], [1.0, 0.0], [0.7, 0.714]]]])
    keys = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
    texts = ClassTexts(np.eye(2, dtype=np.float32), np.arange(2))
    assert patch_scores(DenseFeatures(vectors, keys), texts, PLAIN).argmax(-1).tolist() == [[[0, 0, 1]]]
    voted = patch_scores(DenseFeatures(vectors, keys), texts, Refinement(denoising=False))
    assert voted.argmax(-1).tolist() == [[[0, 0, 0]]]


def test_a_background_may_have_several_names(tiny: EvalModel) -> None:
    texts = class_texts(tiny, ("background", "dog"), ["a {}"], background=("sky", "ground"))
    assert texts.classes.tolist() == [0, 0, 1]
    found = DenseFeatures(torch.from_numpy(texts.vectors[1]).view(1, 1, 1, -1), torch.ones(1, 1, 1))
    assert patch_scores(found, texts, PLAIN).argmax().item() == 0


def test_self_training_looks_at_no_mask_and_changes_a_copy(tiny: EvalModel) -> None:
    texts = _texts_of(tiny)
    # Close to each other: of what it is wholly sure of there would be nothing to learn.
    middle = texts.vectors.mean(0)
    texts = ClassTexts(middle + 0.02 * (texts.vectors - middle), texts.classes)
    bare = in_memory("bare", ("red", "blue"), [Example(one.key, one.open) for one in _halves()])
    before = tiny.model.visual.proj.clone()
    learner = self_train(tiny, bare, texts, Refinement(), SelfTraining(steps=4, batch=2, lr=1e-3))
    assert torch.equal(tiny.model.visual.proj, before)
    assert not torch.equal(learner.model.visual.proj, before)
    assert segment(learner, _halves(), texts, PLAIN).mean_iou > 0.8


def test_an_image_without_mask_and_a_mask_beyond_the_classes_are_named(tiny: EvalModel) -> None:
    texts = _texts_of(tiny)
    bare = in_memory("bare", ("red", "blue"), [Example("one", next(iter(_halves())).open)])
    with pytest.raises(BadInput, match="one: has no mask"):
        segment(tiny, bare, texts, PLAIN)
    wrong = [Example("two", next(iter(_halves())).open, mask=lambda: np.full((32, 32), 9, np.uint8))]
    with pytest.raises(BadInput, match="two: its mask has class 9, the task has 2"):
        segment(tiny, in_memory("wrong", ("red", "blue"), wrong), texts, PLAIN)
