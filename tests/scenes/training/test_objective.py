"""The training objective: the towers are open_clip's, and the targets say what matches what."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from open_clip.model import CLIP

from scenes.training.objective import (
    Batch,
    contrastive_loss,
    encode_image,
    encode_mixed,
    equal_texts,
    keep_patches,
    matching_loss,
    pool_regions,
)

TEXT = {"context_length": 16, "vocab_size": 50, "width": 32, "heads": 2, "layers": 2}
VISION = {"image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16}


@pytest.fixture(scope="module")
def model() -> CLIP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CLIP(8, VISION, TEXT).eval()


@pytest.fixture
def batch() -> Batch:
    tokens = torch.zeros((3, 6), dtype=torch.long)
    tokens[0, :3], tokens[1, :6], tokens[2, :3] = (
        torch.tensor([1, 7, 49]),
        torch.tensor([1, 2, 3, 4, 5, 49]),
        torch.tensor([1, 7, 49]),
    )
    patches = torch.zeros((2, 16), dtype=torch.bool)
    patches[0, :2], patches[1, 5] = True, True
    return Batch(
        pixels=torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)),
        tokens=tokens,
        named=torch.tensor([4, -1, -1]),
        shown=torch.tensor([[4, -1], [9, 4], [9, -1]]),
        region_image=torch.tensor([0, 2]),
        region_patches=patches,
        region_tokens=tokens[:2],
        region_named=torch.tensor([4, -1]),
        region_type=torch.tensor([4, 9]),
    )


def test_the_towers_are_open_clips(model: CLIP, batch: Batch) -> None:
    with torch.inference_mode():
        image, patches = encode_image(model, batch.pixels, None, model.visual.transformer)
        torch.testing.assert_close(image, model.encode_image(batch.pixels))
        assert patches.shape == (3, 16, 8)
        padded = torch.nn.functional.pad(batch.tokens, (0, 10))
        torch.testing.assert_close(encode_mixed(model, batch.tokens), model.encode_text(padded))


def test_looking_at_all_patches_in_another_order_changes_nothing(model: CLIP, batch: Batch) -> None:
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2)).expand(3, -1)
    with torch.inference_mode():
        image, _ = encode_image(model, batch.pixels, order, model.visual.transformer)
        torch.testing.assert_close(image, model.encode_image(batch.pixels))


def test_patches_of_objects_are_kept_more_often(batch: Batch) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kept = torch.stack([keep_patches(batch, 16, 8)[0] for _ in range(400)])
    assert kept.shape == (400, 8)
    of_object = (kept < 2).float().sum() / 800
    of_rest = (kept >= 2).float().sum() / (400 * 14)
    assert of_object > of_rest + 0.2


def test_an_object_is_the_mean_of_its_patches_that_were_kept(batch: Batch) -> None:
    features = torch.arange(3 * 16 * 8, dtype=torch.float32).view(3, 16, 8)
    pooled, seen = pool_regions(features, None, batch)
    torch.testing.assert_close(pooled[0], features[0, :2].mean(0))
    torch.testing.assert_close(pooled[1], features[2, 5])
    kept = torch.tensor([[1, 7], [0, 1], [3, 4]])
    pooled, seen = pool_regions(torch.stack([features[i, kept[i]] for i in range(3)]), kept, batch)
    torch.testing.assert_close(pooled[0], features[0, 1])
    assert seen.tolist() == [True, False]


def test_equal_texts_and_bare_names_have_several_matches(model: CLIP, batch: Batch) -> None:
    assert equal_texts(batch.tokens).tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    perfect = torch.eye(3)
    one_to_one = matching_loss(torch.tensor(100.0), perfect, perfect, torch.eye(3, dtype=torch.bool))
    assert one_to_one < 1e-3
    several = matching_loss(torch.tensor(100.0), perfect, perfect, equal_texts(batch.tokens))
    assert several > 10  # the two equal texts should have had one feature


def test_the_losses_have_gradients_for_both_towers_and_take_any_batch(model: CLIP, batch: Batch) -> None:
    for keep in (None, 8):
        pictures, objects = contrastive_loss(model, batch, keep, model.visual.transformer)
        (pictures + objects).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters())
    none = dataclasses.replace(batch, named=torch.tensor([-1, -1, -1]))
    different, _ = contrastive_loss(model, none, None, model.visual.transformer)
    named, _ = contrastive_loss(model, batch, None, model.visual.transformer)
    assert different != named  # picture 1 shows type 4, which text 0 names
