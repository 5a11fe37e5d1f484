"""Adapters merged into weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from customize.lmm.model.load import Lmm
from customize.lmm.model.merge import plain_state
from index.errors import BadInput
from tests.customize.lmm.model.test_export import trained


def test_merging_is_w_plus_scaled_b_a(lmm: Lmm) -> None:
    trained(lmm)
    layer: Any = lmm.llava.model.language_model.layers[0].self_attn.q_proj
    up, down = layer.lora_B["default"].weight, layer.lora_A["default"].weight
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    expected = layer.base_layer.weight + 4 / 2 * up @ down
    torch.testing.assert_close(plain_state(lmm.model, merge=True)[name], expected)
    assert torch.equal(plain_state(lmm.model, merge=False)[name], layer.base_layer.weight)


def test_the_state_before_the_adapter_is_that_of_the_model_it_was_made_on(lmm: Lmm) -> None:
    before = {name: weight.clone() for name, weight in lmm.model.state_dict().items()}
    assert plain_state(lmm.model, merge=True).keys() == before.keys()
    trained(lmm)
    after = plain_state(lmm.model, merge=False)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert plain_state(lmm.model, merge=True).keys() == before.keys()


def test_variants_of_lora_are_refused(lmm: Lmm) -> None:
    trained(lmm)
    lmm.model.peft_config["default"].use_dora = True
    with pytest.raises(BadInput, match="DoRA"):
        plain_state(lmm.model, merge=True)
