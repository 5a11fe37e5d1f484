"""The blocks of both towers are found in every model class, and towers without blocks are named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from customize.clip.towers import image_tower, is_image_parameter, text_tower
from index.errors import BadInput
from tests.customize.clip.tiny_models import RESNET, TIMM, clip


@pytest.mark.parametrize("custom_text", [False, True])
def test_open_clips_towers_are_found_in_both_model_classes(custom_text: bool) -> None:
    model = clip(custom_text=custom_text)
    for tower, block in ((image_tower(model), model.visual.transformer.resblocks[0]), (text_tower(model), None)):
        assert (len(tower.blocks), tower.width, tower.heads, tower.mlp_width) == (3, 32, 2, 128)
        assert isinstance(tower.activation, nn.GELU)
        assert block is None or tower.blocks[0] is block


def test_timms_vision_transformer_is_found() -> None:
    model = clip(TIMM)
    tower = image_tower(model)
    block = model.visual.trunk.blocks[0]
    assert tower.blocks[0] is block
    assert tower.norm is block.norm1
    assert (tower.width, tower.mlp_width) == (block.attn.qkv.in_features, block.mlp.fc1.out_features)
    assert tower.batch_first


def test_the_blocks_take_hidden_states_of_the_towers_width() -> None:
    for tower in (image_tower(clip()), image_tower(clip(TIMM)), text_tower(clip())):
        hidden = torch.zeros(1, 5, tower.width)
        assert tower.blocks[0](hidden).shape == hidden.shape


def test_a_tower_without_blocks_is_named() -> None:
    with pytest.raises(BadInput, match="the image tower is a ModifiedResNet"):
        image_tower(clip(RESNET))
    other: Any = SimpleNamespace(text=nn.Linear(1, 1))
    with pytest.raises(BadInput, match="the text tower is a Linear, not open_clip's own transformer"):
        text_tower(other)


def test_parameters_of_the_image_tower_are_told_by_their_name() -> None:
    assert is_image_parameter("visual.proj")
    assert not is_image_parameter("transformer.resblocks.0.ln_1.weight")
