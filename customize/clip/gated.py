"""Gated blocks (thesis 2.3.2, figure 2.3 d): new blocks before the last blocks of a pre-trained transformer.

A gated block is a pre-norm self-attention and an MLP, each added with a factor tanh(alpha). alpha is 0 at the start, so
inserting a gated block does not change the model's outputs; only training does. A gated block is the child module
`gated_attn_block` of the block that follows it, so all original weights keep their names, as in the checkpoints of
REACT's authors.
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
    "ALPHAS",
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
ALPHAS = ("alpha_attn", "alpha_dense")  # the parameters of a gated block whose tanh is its opening
_GATED_BLOCKS = 6  # thesis, appendix: before the last 6 layers,
_GATED_BLOCKS_BIGG = 12  # and before the last 12 of bigG
_BIGG_DEPTH = 48  # layers of bigG; in open_clip ViT-g has 40, and ViT-e, which was never published, 56


class GatedBlock(nn.Module):
    """x + tanh(alpha_attn) attention(norm(x)), then x + tanh(alpha_dense) MLP(norm(x)).

    A new block has random weights in the shape of the tower's blocks, and both alphas are 0 (closed gates).
    """

    def __init__(self, tower: Tower) -> None:
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
        """Hidden states to hidden states of the same shape."""
        normed = self.ln_1(x)
        mask = None if attn_mask is None else attn_mask.to(normed.dtype)
        attended = self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        x = x + self.alpha_attn.tanh() * attended
        dense: Tensor = x + self.alpha_dense.tanh() * self.mlp(self.ln_2(x))
        return dense


def default_gated_blocks(tower: Tower) -> int:
    """The default number of gated blocks: 6, for bigG 12, and at most one for each block of the tower."""
    depth = len(tower.blocks)
    return min(depth, _GATED_BLOCKS_BIGG if depth == _BIGG_DEPTH else _GATED_BLOCKS)


def insert_gates(tower: Tower, positions: Sequence[int], seed: int = 0) -> None:
    """Insert a gated block before each block at `positions` (0 is the first); `seed` decides the new weights.

    Raises:
        BadInput: a position outside the tower, or one that has a gated block already.
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
            # Weights are drawn on the CPU, so that they do not depend on the device. On the meta device none are drawn.
            with torch.device("meta" if like.is_meta else "cpu"):
                gate = GatedBlock(tower)
            # The gate gets its block's mode: in eval mode attention uses another kernel, which rounds differently.
            block.add_module(GATE, gate.to(like.device, like.dtype).train(block.training))
            # This is a hook and not a wrapper, so that the block keeps its class, which open_clip's code checks.
            block.register_forward_pre_hook(_through_gate, with_kwargs=True)


def gated_positions(tower: Tower) -> tuple[int, ...]:
    """The positions of the blocks that have a gated block before them."""
    return tuple(position for position, block in enumerate(tower.blocks) if hasattr(block, GATE))


def gate_values(tower: Tower) -> list[tuple[float, float]]:
    """(tanh(alpha_attn), tanh(alpha_dense)) of each gated block, first to last: 0 is closed, 1 is open."""
    gates = [getattr(tower.blocks[position], GATE) for position in gated_positions(tower)]
    return [(float(gate.alpha_attn.detach().tanh()), float(gate.alpha_dense.detach().tanh())) for gate in gates]


def is_gated(model: nn.Module) -> bool:
    """Whether a model has gated blocks in any tower."""
    return any(name.split(".")[-1] == GATE for name, _ in model.named_modules())


def describe_extension(image_gates: Sequence[int], text_gates: Sequence[int]) -> dict[str, Any]:
    """The entry of a model folder's configuration from which `extend_model` inserts the gated blocks."""
    return {"name": EXTENSION, "image_gates": list(image_gates), "text_gates": list(text_gates)}


def extend_model(model: nn.Module, extension: Mapping[str, Any]) -> None:
    """Insert the gated blocks that a model folder's `extension` describes; their weights are loaded later.

    Raises:
        BadInput: positions that are not block numbers of the model.
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
    """The hook that runs before a block: it passes the block's input hidden states through the gated block."""
    # open_clip calls block(x, attn_mask=mask), and under gradient checkpointing block(x, None, None, mask).
    mask = kwargs.get("attn_mask", args[3] if len(args) > 3 else None)
    gate: Any = getattr(block, GATE)
    return (gate(args[0], mask), *args[1:]), kwargs


def _fresh_norm(norm: nn.LayerNorm) -> nn.Module:
    return type(norm)(norm.normalized_shape, eps=norm.eps)
