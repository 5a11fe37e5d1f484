"""Where the transformer blocks of an open_clip model lie: its image tower's and its text tower's.

open_clip keeps them in different places: `CLIP` and `CustomTextCLIP`, its own vision transformer and timm's. Knows no
strategies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from index.errors import BadInput

__all__ = ["Tower", "image_tower", "is_image_parameter", "text_tower"]


@dataclass(frozen=True)
class Tower:
    """The blocks of one tower, first to last, and the shape of one."""

    blocks: Any  # an indexable container of modules, each taking hidden states [batch, tokens, width] first
    width: int
    heads: int
    mlp_width: int
    norm: nn.LayerNorm  # a block's first one, whose kind and epsilon new layers take over
    activation: nn.Module  # between the two layers of a block's perceptron
    batch_first: bool  # hidden states are [batch, tokens, width], else [tokens, batch, width]


def image_tower(model: nn.Module) -> Tower:
    """The image tower's blocks.

    Raises:
        BadInput: the tower is no transformer (a ResNet, a ConvNeXt).
    """
    visual: Any = model.visual
    if hasattr(visual, "transformer") and hasattr(visual.transformer, "resblocks"):
        return _open_clip_tower(visual.transformer)
    if hasattr(visual, "trunk") and _is_timm_transformer(visual.trunk):
        block = visual.trunk.blocks[0]
        mlp = block.mlp
        return Tower(
            visual.trunk.blocks,
            block.norm1.normalized_shape[0],
            block.attn.num_heads,
            mlp.fc1.out_features,
            block.norm1,
            mlp.act,
            batch_first=True,
        )
    kind = type(visual.trunk if hasattr(visual, "trunk") else visual).__name__
    raise BadInput(
        f"the image tower is a {kind}, and gated blocks go between the blocks of a transformer: "
        "choose locked-image, locked-text or full, or a ViT"
    )


def text_tower(model: nn.Module) -> Tower:
    """The text tower's blocks.

    Raises:
        BadInput: the tower is not open_clip's own transformer.
    """
    text: Any = getattr(model, "text", model)
    transformer = getattr(text, "transformer", None)
    if hasattr(transformer, "resblocks"):
        return _open_clip_tower(transformer)
    kind = type(text).__name__
    raise BadInput(
        f"the text tower is a {kind}, not open_clip's own transformer, so that no gated blocks go into it: "
        "choose locked-text-gated-image, locked-image, locked-text or full"
    )


def is_image_parameter(name: str) -> bool:
    """Whether a parameter's `name` in the model says that it is of the image tower."""
    return name.startswith("visual.")


def _open_clip_tower(transformer: Any) -> Tower:
    block = transformer.resblocks[0]
    mlp = block.mlp
    return Tower(
        transformer.resblocks,
        transformer.width,
        block.attn.num_heads,
        mlp.c_fc.out_features,
        block.ln_1,
        mlp.gelu,
        batch_first=transformer.batch_first,
    )


def _is_timm_transformer(trunk: Any) -> bool:
    blocks = getattr(trunk, "blocks", None)
    if blocks is None or not len(blocks):
        return False
    first = blocks[0]
    return (
        isinstance(getattr(first, "norm1", None), nn.LayerNorm)
        and hasattr(getattr(first, "attn", None), "num_heads")
        and hasattr(getattr(first, "mlp", None), "fc1")
    )
