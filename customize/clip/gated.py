"""Gated blocks (thesis 2.3.2, figure 2.3 d): new blocks before the last blocks of a pre-trained transformer.

A gated block is a pre-norm self-attention and a perceptron, each added through tanh(alpha) with alpha = 0 at the start,
so that the model answers as before until it is trained. It becomes the child `gated_attn_block` of the block that
follows it, so every original weight keeps its name, and checkpoints of REACT's authors have the same names.
Knows no strategies and no files.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from customize.clip.towers import Tower, image_tower, text_tower
from index.errors import BadInput

__all__ = [
    "EXTENSION",
    "GATE",
    "GatedBlock",
    "default_gated_blocks",
    "describe_extension",
    "extend_model",
    "gate_values",
    "gated_positions",
    "insert_gates",
    "is_gated",
]

EXTENSION = "react-gated"  # the name in a model folder's configuration, see index.encoder.loading

GATE = "gated_attn_block"  # the name in REACT's released checkpoints
_GATED_BLOCKS = 6  # thesis, appendix: the last 6 layers,
_GATED_BLOCKS_DEEP = 12  # and the last 12 of bigG,
_DEEP = 48  # which has 48; open_clip's deepest others have 40 (ViT-g) and 56 (ViT-e, never published)


class GatedBlock(nn.Module):
    """x + tanh(alpha_attn) attention(norm(x)), then x + tanh(alpha_dense) perceptron(norm(x))."""

    def __init__(self, tower: Tower) -> None:
        """Fresh weights in the shape of the tower's own blocks, both gates closed."""
        super().__init__()
        self.ln_1 = _fresh_norm(tower.norm)
        self.attn = nn.MultiheadAttention(tower.width, tower.heads, batch_first=tower.batch_first)
        self.ln_2 = _fresh_norm(tower.norm)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(tower.width, tower.mlp_width))
        self.mlp.add_module("gelu", copy.deepcopy(tower.activation))
        self.mlp.add_module("c_proj", nn.Linear(tower.mlp_width, tower.width))
        self.alpha_attn = nn.Parameter(torch.tensor(0.0))
        self.alpha_dense = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Hidden states in, hidden states of the same shape out."""
        normed = self.ln_1(x)
        mask = None if attn_mask is None else attn_mask.to(normed.dtype)
        attended = self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        x = x + self.alpha_attn.tanh() * attended
        dense: Tensor = x + self.alpha_dense.tanh() * self.mlp(self.ln_2(x))
        return dense


def default_gated_blocks(tower: Tower) -> int:
    """How many blocks get a gated one before them unless told: the last 6, 12 of bigG, or all where there are fewer."""
    depth = len(tower.blocks)
    return min(depth, _GATED_BLOCKS_DEEP if depth == _DEEP else _GATED_BLOCKS)


def insert_gates(tower: Tower, positions: Sequence[int], seed: int = 0) -> None:
    """Put a gated block before each block at `positions` (0 is the first); `seed` decides its weights.

    Raises:
        BadInput: a position that the tower does not have, or that has its gated block already.
    """
    depth = len(tower.blocks)
    for position in positions:
        if not 0 <= position < depth:
            raise BadInput(f"a gated block before block {position}: the tower has blocks 0 to {depth - 1}")
        if hasattr(tower.blocks[position], GATE):
            raise BadInput("the model has gated blocks already: customize its base, or load it with load_customized")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for position in positions:
            block = tower.blocks[position]
            like = next(block.parameters())
            # Drawn on the CPU, so that the weights do not depend on the device; an outline of a model draws none.
            with torch.device("meta" if like.is_meta else "cpu"):
                gate = GatedBlock(tower)
            # Its mode is its place's too: in evaluation attention takes another kernel, with other last bits.
            block.add_module(GATE, gate.to(like.device, like.dtype).train(block.training))
            # A hook, not a wrapper: the block keeps its class, so open_clip's own code still knows it.
            block.register_forward_pre_hook(_through_gate, with_kwargs=True)


def gated_positions(tower: Tower) -> tuple[int, ...]:
    """Which blocks have a gated one before them."""
    return tuple(position for position, block in enumerate(tower.blocks) if hasattr(block, GATE))


def gate_values(tower: Tower) -> list[tuple[float, float]]:
    """(tanh(alpha_attn), tanh(alpha_dense)) of every gated block, first to last: 0 is closed, 1 wide open."""
    gates = [getattr(tower.blocks[position], GATE) for position in gated_positions(tower)]
    return [(float(gate.alpha_attn.detach().tanh()), float(gate.alpha_dense.detach().tanh())) for gate in gates]


def is_gated(model: nn.Module) -> bool:
    """Whether a model has gated blocks anywhere."""
    return any(name.split(".")[-1] == GATE for name, _ in model.named_modules())


def describe_extension(image_gates: Sequence[int], text_gates: Sequence[int]) -> dict[str, Any]:
    """What a model folder's configuration says of its gated blocks, for `extend_model`."""
    return {"name": EXTENSION, "image_gates": list(image_gates), "text_gates": list(text_gates)}


def extend_model(model: nn.Module, extension: Mapping[str, Any]) -> None:
    """Put gated blocks where `extension` of a model folder says; their weights come with the folder's.

    Raises:
        BadInput: positions that the model does not have.
    """
    for tower, where in ((image_tower, "image_gates"), (text_tower, "text_gates")):
        positions = extension.get(where, [])
        if not isinstance(positions, list) or not all(type(position) is int for position in positions):
            raise BadInput(f"the model's extension {EXTENSION}: {where} is not a list of block numbers")
        if positions:
            insert_gates(tower(model), positions)


def _through_gate(
    block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a block is called with, its hidden states gone through the gated block first."""
    # open_clip calls block(x, attn_mask=mask), and under gradient checkpointing block(x, None, None, mask).
    mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
    gate: Any = getattr(block, GATE)
    return (gate(args[0], mask), *args[1:]), kwargs


def _fresh_norm(norm: nn.LayerNorm) -> nn.Module:
    return type(norm)(norm.normalized_shape, eps=norm.eps)
