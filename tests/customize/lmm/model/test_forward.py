"""The forward pass on the tower's features against transformers' own on pixels; packed samples against padded ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from customize.lmm.model.forward import TokenLosses, embed, trained_places
from customize.lmm.model.load import Lmm
from customize.lmm.model.trainable import TrainedParts, apply_trained
from index.errors import BadInput
from tests.customize.lmm.model.positions import restarting_positions

IMAGE = 3


def tower_features(lmm: Lmm, pixels: torch.Tensor) -> torch.Tensor:
    """transformers' own steps before the projector, for the layer -2 without CLS."""
    with torch.no_grad():
        hidden = lmm.llava.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2]
    features: torch.Tensor = hidden[:, 1:]
    return features


def sample(length: int, images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and labels of a sample: its first tokens are prompt and images, the last half is trained."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, 260, (length,), generator=generator)
    for image in range(images):
        ids[1 + 5 * image : 5 + 5 * image] = IMAGE
    labels = ids.clone()
    labels[: max(length // 2, 1 + 5 * images)] = -100
    return ids, labels


def padded(samples: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ids, labels = zip(*samples, strict=True)
    mask = [torch.ones(len(each), dtype=torch.int64) for each in ids]
    pad: Any = nn.utils.rnn.pad_sequence
    return pad(ids, True, 0), pad(labels, True, -100), pad(mask, True, 0)


def test_logits_on_features_are_those_on_pixels(lmm: Lmm) -> None:
    pixels = torch.randn(3, 3, 28, 28)
    ids, _, mask = padded([sample(14, 2, 0), sample(9, 1, 1)])
    with torch.no_grad():
        expected = lmm.model(input_ids=ids, pixel_values=pixels, attention_mask=mask).logits
        embeddings = embed(lmm.model, ids, tower_features(lmm, pixels))
        found = lmm.model(inputs_embeds=embeddings, attention_mask=mask).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_losses_on_features_are_transformers_own(lmm: Lmm) -> None:
    pixels = torch.randn(3, 3, 28, 28)
    ids, labels, mask = padded([sample(14, 2, 0), sample(9, 1, 1)])
    with torch.no_grad():
        expected = lmm.model(input_ids=ids, pixel_values=pixels, attention_mask=mask, labels=labels).loss
        found = TokenLosses(lmm.model)(ids, tower_features(lmm, pixels), labels, attention_mask=mask)
    assert len(found) == int(trained_places(labels).sum()) == int((labels != -100).sum())
    torch.testing.assert_close(found.mean(), expected)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_samples_have_the_losses_and_gradients_of_padded_ones(lmm: Lmm, attention: str) -> None:
    lmm.llava.set_attn_implementation(attention)
    lora = TrainedParts("lora", precision="float32", lora_r=2, lora_alpha=4, lora_dropout=0.0)
    apply_trained(lmm, lora)
    samples = [sample(14, 2, 0), sample(9, 1, 1), sample(11, 0, 2), sample(20, 3, 3)]
    features = tower_features(lmm, torch.randn(6, 3, 28, 28))
    module = TokenLosses(lmm.model)
    weights = [weight for weight in lmm.model.parameters() if weight.requires_grad]
    ids, labels, mask = padded(samples)
    unpacked = module(ids, features, labels, attention_mask=mask)
    gradients = torch.autograd.grad(unpacked.sum(), weights)
    row, answers = (torch.cat(each).unsqueeze(0) for each in zip(*samples, strict=True))
    positions = restarting_positions([len(each) for each, _ in samples])
    packed = module(row, features, answers, position_ids=positions)
    torch.testing.assert_close(packed, unpacked, rtol=0, atol=1e-5)
    for mine, theirs in zip(torch.autograd.grad(packed.sum(), weights), gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_sample_in_a_pack_sees_no_other(lmm: Lmm) -> None:
    first, second = sample(12, 1, 0), sample(10, 1, 1)
    features = tower_features(lmm, torch.randn(2, 3, 28, 28))
    other = features.clone()
    other[0] += 1
    row, labels = (torch.cat(each).unsqueeze(0) for each in zip(first, second, strict=True))
    positions = restarting_positions([12, 10])
    with torch.no_grad():
        before, after = (
            TokenLosses(lmm.model)(row, each, labels, position_ids=positions) for each in (features, other)
        )
    count = int((second[1] != -100).sum())
    assert torch.equal(before[-count:], after[-count:])
    assert not torch.equal(before[:-count], after[:-count])


def test_the_first_token_of_a_packed_sample_has_no_loss() -> None:
    labels = torch.tensor([[-100, 5, 6, 7, 8]])
    assert trained_places(labels).tolist() == [[True, True, True, True]]
    assert trained_places(labels, restarting_positions([2, 3])).tolist() == [[True, False, True, True]]


def test_another_number_of_features_than_places_is_one_line(lmm: Lmm) -> None:
    ids, _ = sample(14, 2, 0)
    with pytest.raises(BadInput, match="8 places for image features, and 4 features were given"):
        embed(lmm.model, ids.unsqueeze(0), torch.zeros(1, 4, 32))
    with pytest.raises(BadInput, match="8 places for image features, and 0 features were given"):
        embed(lmm.model, ids.unsqueeze(0), torch.zeros(0, 4, 32))


def test_a_batch_without_images_gives_the_projector_gradients_of_zeros(lmm: Lmm) -> None:
    apply_trained(lmm, TrainedParts("frozen", precision="float32"))
    ids, labels = (each.unsqueeze(0) for each in sample(10, 0, 0))
    losses = TokenLosses(lmm.model)(ids, torch.zeros(0, 4, 32), labels)
    losses.sum().backward()
    projector = lmm.llava.model.multi_modal_projector
    assert projector.linear_1.weight.grad.abs().sum() == 0
    assert projector.linear_2.bias.grad.abs().sum() == 0


def test_bfloat16_weights_give_nearly_the_losses_of_float32(lmm: Lmm) -> None:
    ids, labels, mask = padded([sample(14, 2, 0), sample(9, 1, 1)])
    features = tower_features(lmm, torch.randn(3, 3, 28, 28))
    with torch.no_grad():
        wide = TokenLosses(lmm.model)(ids, features, labels, attention_mask=mask)
        apply_trained(lmm, TrainedParts("lora", precision="bfloat16", lora_r=2, lora_alpha=4))
        with torch.autocast("cpu", torch.bfloat16):
            narrow = TokenLosses(lmm.model.eval())(ids, features.half(), labels, attention_mask=mask)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, wide, rtol=0.02, atol=0.05)
