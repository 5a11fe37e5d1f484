"""Gated blocks: where they are inserted, what closed and open gates do, and how a model folder describes them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from customize.clip.gated import (
    GATE,
    GatedBlock,
    default_gated_blocks,
    describe_extension,
    extend_model,
    gate_values,
    gated_positions,
    insert_gates,
    is_gated,
)
from customize.clip.towers import image_tower, text_tower
from index.errors import BadInput
from tests.customize.clip.tiny_models import TIMM, clip, features


def test_a_closed_block_passes_hidden_states_through() -> None:
    block = GatedBlock(image_tower(clip()))
    hidden = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(hidden), hidden)
    block.alpha_dense.data.fill_(1.0)
    expected = hidden + torch.tanh(torch.tensor(1.0)) * block.mlp(block.ln_2(hidden))
    torch.testing.assert_close(block(hidden), expected)


@pytest.mark.parametrize("tower", [image_tower, text_tower])
def test_gates_are_inserted_where_asked_and_are_closed(tower: Any) -> None:
    model = clip()
    before = features(model)
    insert_gates(tower(model), (0, 2))
    assert gated_positions(tower(model)) == (0, 2)
    assert gate_values(tower(model)) == [(0.0, 0.0), (0.0, 0.0)]
    assert is_gated(model)
    for was, now in zip(before, features(model), strict=True):
        torch.testing.assert_close(now, was)


@pytest.mark.parametrize("vision", [None, TIMM])
def test_an_open_gate_changes_the_features(vision: dict[str, Any] | None) -> None:
    model = clip(vision) if vision else clip()
    tower = image_tower(model)
    insert_gates(tower, (1,))
    before = features(model)[0]
    getattr(tower.blocks[1], GATE).alpha_attn.data.fill_(0.5)
    ((attention, dense),) = gate_values(tower)
    assert attention == pytest.approx(0.4621, abs=1e-4)
    assert dense == 0.0
    assert not torch.allclose(features(model)[0], before)


def test_new_weights_follow_from_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        tower = image_tower(clip())
        insert_gates(tower, (1,), seed)
        weight: torch.Tensor = getattr(tower.blocks[1], GATE).mlp.c_fc.weight
        return weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_a_gated_block_takes_mode_and_type_of_its_block() -> None:
    model = clip().to(torch.float64).train()
    insert_gates(image_tower(model), (1,))
    gate = getattr(image_tower(model).blocks[1], GATE)
    assert gate.training
    assert gate.alpha_attn.dtype == torch.float64


def test_positions_outside_the_tower_and_twice_are_refused() -> None:
    tower = image_tower(clip())
    with pytest.raises(BadInput, match="a gated block before block 3: the tower has blocks 0 to 2"):
        insert_gates(tower, (1, 3))
    assert gated_positions(tower) == ()
    insert_gates(tower, (1,))
    with pytest.raises(BadInput, match="the model has gated blocks already"):
        insert_gates(tower, (1,))


def test_the_default_is_six_twelve_of_bigg_and_all_of_a_smaller_tower() -> None:
    depths = {depth: default_gated_blocks(SimpleNamespace(blocks=range(depth))) for depth in (3, 12, 40, 48, 56)}  # type: ignore[arg-type]
    assert depths == {3: 3, 12: 6, 40: 6, 48: 12, 56: 6}


def test_an_extension_puts_the_same_blocks_into_another_model() -> None:
    model = clip()
    extend_model(model, describe_extension((1, 2), (0,)))
    assert gated_positions(image_tower(model)) == (1, 2)
    assert gated_positions(text_tower(model)) == (0,)


@pytest.mark.parametrize("wrong", [[1.5], "12", [True]])
def test_an_extension_with_wrong_positions_is_refused(wrong: Any) -> None:
    with pytest.raises(BadInput, match="image_gates is not a list of block numbers"):
        extend_model(clip(), {"name": "react-gated", "image_gates": wrong})
