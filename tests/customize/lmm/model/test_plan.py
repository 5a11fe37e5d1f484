"""Plans against numbers worked out by hand for LLaVA-1.5 7B, and against what torch keeps of a small model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from customize.lmm.model.forward import TokenLosses
from customize.lmm.model.load import Lmm
from customize.lmm.model.plan import (
    Hardware,
    Workload,
    activation_bytes,
    flops_per_sample,
    plan_tuning,
    trained_weights,
)
from customize.lmm.model.shape import ModelShape, shape_of
from customize.lmm.model.trainable import TrainedParts, apply_trained
from index.errors import BadInput

# Vicuna-1.5 7B of 32,000 tokens with CLIP-L/14 at 336 pixels, counted by hand: a layer of Llama has 4 x 4096^2 +
# 3 x 4096 x 11008 weights and two norms; embeddings and output layer 32,000 x 4096 each.
LAYER = 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
LLAVA_7B = ModelShape(
    tower=303_507_456,
    projector=1024 * 4096 + 4096 + 4096**2 + 4096,
    language_model=32 * LAYER + 4096 + 2 * 32_000 * 4096,
    embeddings=32_000 * 4096,
    lora_widths=32 * (4 * 8192 + 3 * (4096 + 11008)),
    layers=32,
    hidden=4096,
    intermediate=11008,
    vocabulary=32_000,
    key_value_share=1.0,
    image_tokens=576,
    tower_tokens=577,
    tower_width=1024,
)
A100 = Hardware.named("A100-80GB", 8)
WORK = Workload(samples=665_000, tokens=900, images=1)


def test_the_numbers_of_weights_are_those_of_llava_15_7b() -> None:
    assert LLAVA_7B.language_model == 6_738_415_616
    assert trained_weights(LLAVA_7B, TrainedParts("lora")) == 319_815_680 + 20_979_712
    assert trained_weights(LLAVA_7B, TrainedParts("frozen")) == 20_979_712
    assert trained_weights(LLAVA_7B, TrainedParts("full")) == 6_738_415_616 + 20_979_712
    assert trained_weights(LLAVA_7B, TrainedParts("lora", projector=False, lora_r=8)) == 8 * 2_498_560


def test_memory_of_lora_on_7b_is_what_it_comes_to_by_hand() -> None:
    plan = plan_tuning(LLAVA_7B, TrainedParts("lora"), WORK, A100)
    assert plan.memory["frozen weights"] == 2 * (6_738_415_616 + 303_507_456)  # 14.1 GB
    assert plan.memory["trained weights"] == 6 * 340_795_392
    assert plan.memory["gradients"] == 4 * 340_795_392
    assert plan.memory["AdamW's moments"] == 8 * 340_795_392
    # A layer: 2 (4h + 3f) + 8h + 2 (6h + f) + 14r + 6h + f = 34h + 9f + 14r bytes a token.
    layer = 34 * 4096 + 9 * 11008 + 14 * 128
    assert plan.memory["activations"] == 8192 * (32 * 2 * 4096 + layer)
    assert plan.memory["logits"] == pytest.approx(8192 * 0.3 * 32_000 * 16)
    assert plan.total == sum(plan.memory.values())
    assert plan.fits
    assert not plan_tuning(LLAVA_7B, TrainedParts("lora"), WORK, Hardware.named("RTX-4090", 1)).fits
    kept = plan_tuning(LLAVA_7B, TrainedParts("lora", gradient_checkpointing=False), WORK, A100)
    assert kept.memory["activations"] == 8192 * 32 * layer


def test_full_training_of_7b_needs_sharding() -> None:
    full = TrainedParts("full")
    whole = plan_tuning(LLAVA_7B, full, WORK, A100)
    assert whole.memory["AdamW's moments"] == 8 * (6_738_415_616 + 20_979_712)
    assert not whole.fits
    shared = plan_tuning(LLAVA_7B, full, WORK, A100, sharded=True)
    assert shared.fits
    assert shared.memory["AdamW's moments"] == whole.memory["AdamW's moments"] / 8
    pure = plan_tuning(LLAVA_7B, replace(full, precision="pure-bfloat16"), WORK, A100)
    assert pure.memory["AdamW's moments"] == 4 * (6_738_415_616 + 20_979_712)


def test_operations_are_6_a_weight_and_token_in_full_and_4_with_lora() -> None:
    shape = replace(LLAVA_7B, projector=0, tower=0, vocabulary=0, embeddings=0, hidden=0)
    weights, tokens = shape.language_model, 900
    plain: dict[str, Any] = {"gradient_checkpointing": False}
    assert flops_per_sample(shape, TrainedParts("full", **plain), WORK) == 6 * weights * tokens
    assert flops_per_sample(shape, TrainedParts("frozen", **plain), WORK) == 4 * weights * tokens
    lora = flops_per_sample(shape, TrainedParts("lora", **plain), WORK)
    assert lora == 4 * weights * tokens + 6 * 319_815_680 * tokens
    assert flops_per_sample(shape, TrainedParts("full"), WORK) == 8 * weights * tokens


def test_hours_of_lora_on_665k_are_what_they_come_to_by_hand() -> None:
    plan = plan_tuning(LLAVA_7B, TrainedParts("lora"), WORK, A100)
    products = 6_738_415_616 - 2 * 32_000 * 4096
    by_hand = 900.0 * 6 * products  # forward twice, since activations are computed again, and backward
    by_hand += 900 * 0.3 * 4 * 32_000 * 4096
    by_hand += 900**2 * 4096 * 32 * 8  # attention
    by_hand += 900 * 8 * 319_815_680  # LoRA
    by_hand += 576 * 6 * 20_979_712  # projector
    by_hand += 577 * 2 * 303_507_456  # tower
    assert plan.flops_per_sample == pytest.approx(by_hand)
    assert plan.hours == pytest.approx(665_000 * by_hand / (8 * 312e12 * 0.35) / 3600)
    assert 7 < plan.hours < 10


def test_cached_features_cost_disk_and_save_the_tower_after_the_first_epoch() -> None:
    lora = TrainedParts("lora")
    thrice = replace(WORK, epochs=3)
    plain = plan_tuning(LLAVA_7B, lora, thrice, A100)
    cached = plan_tuning(LLAVA_7B, lora, replace(thrice, cached_images=665_000), A100)
    assert cached.cache_bytes == 665_000 * 576 * 1024 * 2  # 784 GB
    tower = 2 * 303_507_456 * 577
    assert plain.flops_per_sample - cached.flops_per_sample == pytest.approx(tower)
    saved = 2 * 665_000 * tower / (8 * 312e12 * 0.35) / 3600
    assert plain.hours - cached.hours == pytest.approx(saved)


def small() -> tuple[Any, int, int]:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    hidden, intermediate = 256, 688
    text = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=1,
        num_attention_heads=8,
        num_key_value_heads=2,
        vocab_size=200,
    )
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    return LlavaConfig(text_config=text, vision_config=vision, image_token_index=3), hidden, intermediate


def kept_bytes(layers: int, parts: TrainedParts, tokens: int) -> int:
    """Bytes that torch keeps for the backward pass, but weights and copies of weights."""
    from transformers import LlavaForConditionalGeneration

    config = small()[0]
    config.text_config.num_hidden_layers = layers
    torch.manual_seed(0)
    lmm = Lmm(LlavaForConditionalGeneration(config), None, None, 3, 4, {})
    apply_trained(lmm, parts)
    weights = {weight.untyped_storage().data_ptr() for weight in lmm.model.parameters()}
    found: dict[int, torch.Tensor] = {}  # kept alive, so that no two have one address

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights and tokens in tensor.shape:
            found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.full((1, tokens), 7)
    labels = torch.full_like(ids, -100)
    labels[0, -3:] = 5
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=parts.precision != "float32")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast:
        TokenLosses(lmm.model)(ids, torch.zeros(0, 4, 32), labels)
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "pure-bfloat16"])
@pytest.mark.parametrize("train", ["frozen", "lora", "full"])
def test_activations_are_what_torch_keeps(train: Any, precision: Any) -> None:
    tokens = 250
    parts = TrainedParts(
        train, precision=precision, lora_r=8, lora_alpha=8, lora_dropout=0.0, gradient_checkpointing=False
    )
    shape = shape_of(small()[0])
    a_layer = (kept_bytes(3, parts, tokens) - kept_bytes(1, parts, tokens)) / 2 / tokens
    assert activation_bytes(shape, parts) == pytest.approx(a_layer, rel=0.05)
    again = replace(parts, gradient_checkpointing=True)
    inputs = (kept_bytes(3, again, tokens) - kept_bytes(1, again, tokens)) / 2 / tokens
    wide = precision == "float32" or (train, precision) == ("full", "bfloat16")
    assert inputs == pytest.approx((4 if wide else 2) * 256, rel=0.01)


def test_values_that_cannot_be_are_one_line() -> None:
    with pytest.raises(BadInput, match="choose RTX-4090, L40S"):
        Hardware.named("TPU", 1)
    with pytest.raises(BadInput, match="at least one GPU"):
        Hardware(0, 1, 1)
    with pytest.raises(BadInput, match="not negative"):
        Workload(samples=-1, tokens=1, images=1)
