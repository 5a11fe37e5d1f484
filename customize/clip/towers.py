"""Finds the transformer blocks of an open_clip model's image tower and text tower.

open_clip's model classes keep them in different places: `CLIP` and `CustomTextCLIP`, its own vision transformer and
timm's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from index.errors import BadInput

__all__ = ["Tower", "image_tower", "is_image_parameter", "text_tower"]


@dataclass(frozen=True)
class Tower:
    """The blocks of one tower, first to last, and the shape of a block.

    Attributes:
        blocks: an indexable container of modules; their first argument are hidden states.
        width: of the hidden states.
        norm: the first norm of a block; new blocks get norms of the same class and epsilon.
        activation: between the two layers of a block's MLP.
        batch_first: hidden states are [batch, tokens, width], otherwise [tokens, batch, width].
    """

    blocks: Any
    width: int
    heads: int
    mlp_width: int
    norm: nn.LayerNorm
    activation: nn.Module
    batch_first: bool


def image_tower(model: nn.Module) -> Tower:
    """The blocks of the image tower.

    Raises:
        BadInput: the tower is not a transformer (a ResNet, a ConvNeXt).
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
    """The blocks of the text tower.

    Raises:
        BadInput: the tower is not open_clip's own transformer.
    """
    text: Any = getattr(model, "text", model)
    transformer = getattr(text, "transformer", None)
    if hasattr(transformer, "resblocks"):
        return _open_clip_tower(transformer)
    kind = type(text).__name__
    raise BadInput(
        f"the text tower is a {kind}, not open_clip's own transformer, so it cannot get gated blocks: "
        "choose locked-text-gated-image, locked-image, locked-text or full"
    )


def is_image_parameter(name: str) -> bool:
    """Whether the parameter `name` of an open_clip model belongs to the image tower."""
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
