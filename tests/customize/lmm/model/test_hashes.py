"""Hashes of weights."""

from __future__ import annotations

import torch
from torch import nn

from customize.lmm.model.hashes import weights_sha256


def test_the_hash_follows_from_names_shapes_and_values() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    first = weights_sha256(layer)
    assert weights_sha256(layer) == first
    assert weights_sha256(nn.Sequential(layer)) != first
    with torch.no_grad():
        layer.weight[0, 0] += 1
    assert weights_sha256(layer) != first


def test_the_hash_of_a_checkpoint_is_the_same_in_float32_and_bfloat16() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 8)
    first = weights_sha256(layer)
    assert weights_sha256(layer.to(torch.bfloat16)) == first
