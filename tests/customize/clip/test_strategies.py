"""Which weights each strategy trains: table 2.6's counts, the same features at step 0, and frozen weights that stay."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch

from customize.clip.objective import Targets, contrastive_loss
from customize.clip.strategies import (
    STRATEGIES,
    apply_strategy,
    check_strategy,
    clamp_logit_scale,
    parameter_group,
    set_training,
)
from index.errors import BadInput
from tests.customize.clip.tiny_models import RESNET, TIMM, VIT, clip, features, images, tokens

GATED = [name for name, strategy in STRATEGIES.items() if strategy.gated]
# Thesis, table 2.6, as exact sums for open_clip's ViT-B-32; logit_scale, which trains too, is counted where noted.
VIT_B_32 = {
    "none": {},
    "locked-image": {"text": 63_428_096, "logit_scale": 1},
    "locked-text": {"visual": 87_849_216, "logit_scale": 1},
    "full": {"visual": 87_849_216, "text": 63_428_096, "logit_scale": 1},
    "gated-text": {"gated_text": 6 * 3_152_386, "logit_scale": 1},
    "locked-text-gated-image": {"gated_image": 6 * 7_087_874, "logit_scale": 1},
    "gated-both": {
        "gated_image": 6 * 7_087_874,
        "gated_text": 6 * 3_152_386,
        "visual": 2_794_752,
        "text": 25_599_488,
        "logit_scale": 1,
    },
}


def vit_b_32(**vision: Any) -> Any:
    """The architecture alone: no memory for weights is taken."""
    import open_clip

    config = open_clip.get_model_config("ViT-B-32")
    config["vision_cfg"] |= vision
    with torch.device("meta"):
        return open_clip.CLIP(**config)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_vit_b_32_trains_exactly_the_parameters_of_table_2_6(strategy: str) -> None:
    assert apply_strategy(vit_b_32(), strategy).trainable == VIT_B_32[strategy]


# Table 2.6 in millions of parameters. Its rows count logit_scale only for the full model and gated both.
TABLE = {"locked-image": 63.4, "full": 151.3, "gated-text": 18.9, "locked-text-gated-image": 42.5, "gated-both": 89.8}


@pytest.mark.parametrize("strategy", TABLE)
def test_the_sums_are_those_that_the_table_rounds(strategy: str) -> None:
    trained = sum(apply_strategy(vit_b_32(), strategy).trainable.values())
    assert round(trained / 1e6, 1) == TABLE[strategy]


def test_the_table_counts_the_text_projection_into_locked_text_and_we_lock_it() -> None:
    model = vit_b_32()
    trained = apply_strategy(model, "locked-text").trainable["visual"]
    assert not model.text_projection.requires_grad
    assert round((trained + model.text_projection.numel()) / 1e6, 1) == 88.1


def test_gated_blocks_go_before_the_last_six_of_twelve_and_the_last_twelve_of_bigg() -> None:
    applied = apply_strategy(vit_b_32(), "locked-text-gated-image")
    assert applied.image_gates == (6, 7, 8, 9, 10, 11)
    assert applied.frozen_image_blocks == 6
    bigg = apply_strategy(vit_b_32(layers=48, width=64), "locked-text-gated-image")
    assert bigg.image_gates == tuple(range(36, 48))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("custom_text", [False, True])
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_the_model_of_step_0_gives_the_features_of_the_original(
    strategy: str, custom_text: bool, quick_gelu: bool
) -> None:
    model = clip(custom_text=custom_text, quick_gelu=quick_gelu)
    before = features(model)
    apply_strategy(model, strategy)
    for was, now in zip(before, features(model), strict=True):
        torch.testing.assert_close(now, was)  # to rounding: memory may be aligned in another way


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gates_that_open_change_the_answer_the_same_way_under_gradient_checkpointing(checkpointing: bool) -> None:
    model = clip()
    closed = features(model)
    apply_strategy(model, "gated-both")
    open_gates(model)
    opened = features(model)
    assert not torch.allclose(closed[0], opened[0])
    assert not torch.allclose(closed[1], opened[1])
    model.set_grad_checkpointing(checkpointing)
    again = model.encode_image(images()), model.encode_text(tokens())
    for plain, checked in zip(opened, again, strict=True):
        torch.testing.assert_close(plain, checked)


def test_gated_text_blocks_see_the_causal_mask() -> None:
    model = clip()
    apply_strategy(model, "gated-text")
    open_gates(model)
    padded, junk = tokens(), tokens()
    junk[:, 9:] = 7  # after the end mark
    with torch.no_grad():
        torch.testing.assert_close(model.encode_text(padded), model.encode_text(junk))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_frozen_weights_never_change_and_trained_ones_do(strategy: str) -> None:
    model = clip()
    applied = apply_strategy(model, strategy)
    if strategy == "none":
        assert not any(parameter.requires_grad for parameter in model.parameters())
        return
    before = hashes(model)
    train(model, strategy, steps=3)
    changed = {name for name, digest in hashes(model).items() if digest != before[name]}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert changed == trained
    text_moves = any(parameter_group(name) in ("text", "gated_text") for name in changed)
    assert text_moves != applied.strategy.locks_text


def test_a_locked_resnet_keeps_its_running_statistics() -> None:
    model = clip(RESNET)
    apply_strategy(model, "locked-image")
    before = hashes(model.visual)
    train(model, "locked-image", steps=2)
    assert hashes(model.visual) == before


def test_a_resnet_takes_strategies_that_need_no_transformer_and_names_them() -> None:
    for strategy in ("none", "locked-image", "locked-text", "full", "gated-text"):
        apply_strategy(clip(RESNET), strategy)
    with pytest.raises(BadInput, match=r"ModifiedResNet.*choose locked-image, locked-text or full, or a ViT"):
        apply_strategy(clip(RESNET), "locked-text-gated-image")


def test_a_refused_model_is_left_as_it_was() -> None:
    model = clip(RESNET)
    names = [name for name, _ in model.named_parameters()]
    with pytest.raises(BadInput):
        apply_strategy(model, "gated-both")
    assert [name for name, _ in model.named_parameters()] == names
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_timms_vision_transformers_take_gated_blocks_too() -> None:
    model = clip(TIMM)
    before = features(model)
    applied = apply_strategy(model, "locked-text-gated-image", gated_blocks=2)
    assert len(applied.image_gates) == 2
    torch.testing.assert_close(features(model)[0], before[0])
    open_gates(model)
    assert not torch.allclose(before[0], features(model)[0])


def test_original_weights_keep_their_names() -> None:
    model = clip()
    names = set(model.state_dict())
    apply_strategy(model, "gated-both")
    assert names < set(model.state_dict())
    assert "visual.transformer.resblocks.2.gated_attn_block.alpha_dense" in model.state_dict()


def test_two_workers_with_one_seed_start_from_the_same_gated_blocks() -> None:
    first, second, other = clip(), clip(), clip()
    for model, seed in ((first, 5), (second, 5), (other, 6)):
        apply_strategy(model, "gated-both", seed=seed)
    assert hashes(first) == hashes(second) != hashes(other)


@pytest.mark.parametrize("strategy", GATED)
def test_a_model_is_gated_once(strategy: str) -> None:
    model = clip()
    apply_strategy(model, strategy)
    with pytest.raises(BadInput, match=f"strategy {strategy} adds gated blocks, which the model has already"):
        apply_strategy(model, strategy)


def test_a_gated_model_is_tuned_further_as_a_whole() -> None:
    """Its gated blocks belong to their towers: they are trained or locked with them."""
    model = clip()
    apply_strategy(model, "locked-text-gated-image", gated_blocks=1)
    applied = apply_strategy(model, "full")
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert applied.image_gates == (2,)
    assert applied.text_gates == ()
    assert applied.frozen_image_blocks == 0
    locked = apply_strategy(model, "locked-image")
    assert set(locked.trainable) == {"text", "logit_scale"}
    assert locked.frozen_image_blocks == 3
    set_training(model, locked.strategy)
    assert not model.visual.transformer.resblocks[2].gated_attn_block.training


def test_more_gated_blocks_than_there_are_blocks() -> None:
    with pytest.raises(BadInput, match="4 gated blocks: the tower has 3 blocks, so choose 1 to 3"):
        apply_strategy(clip(), "locked-text-gated-image", gated_blocks=4)
    with pytest.raises(BadInput, match="strategy full has no gated blocks"):
        apply_strategy(clip(), "full", gated_blocks=2)


def test_an_unknown_strategy_lists_those_there_are() -> None:
    with pytest.raises(BadInput, match=r"unknown strategy 'lit'.*none, locked-image, locked-text, full, gated-text"):
        check_strategy("lit")


def test_the_temperature_stays_between_1_and_100() -> None:
    model = clip(VIT)
    for value, kept in ((9.0, 100.0), (-1.0, 1.0), (2.0, 7.389)):
        model.logit_scale.data.fill_(value)
        clamp_logit_scale(model)
        assert float(model.logit_scale.detach().exp()) == pytest.approx(kept, rel=1e-4)


def open_gates(model: Any) -> None:
    for name, parameter in model.named_parameters():
        if name.endswith(("alpha_attn", "alpha_dense")):
            parameter.data.fill_(0.5)


def hashes(model: Any) -> dict[str, str]:
    return {
        name: hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()
        for name, tensor in model.state_dict().items()
    }


def train(model: Any, strategy: str, steps: int) -> None:
    set_training(model, check_strategy(strategy))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    for _ in range(steps):
        image, text = model.encode_image(images(), normalize=True), model.encode_text(tokens(), normalize=True)
        loss = contrastive_loss(image, text, model.logit_scale.exp(), Targets()).loss
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        clamp_logit_scale(model)
