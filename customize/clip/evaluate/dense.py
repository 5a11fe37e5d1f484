"""Dense features: a vector for each patch of an image, comparable with texts (MaskCLIP, arXiv 2112.01071, section 3.2).

The last attention of the image tower is skipped: each patch keeps its own value vector instead of a mix of all patches.
All other layers run as usual, gated blocks included. Works for open_clip's ViT with a class token and CLIP's ResNets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from customize.clip.evaluate.features import EvalModel
from index.errors import BadInput

__all__ = ["DenseFeatures", "dense_features", "dense_side", "square_pixels"]


@dataclass(frozen=True)
class DenseFeatures:
    """Features of the patches of b images, all of unit length.

    Attributes:
        vectors: float32 [b, h, w, d], comparable with text vectors.
        keys: float32 [b, h x w, k], the patches' keys in the last attention.
    """

    vectors: torch.Tensor
    keys: torch.Tensor


def dense_side(model: EvalModel, side: int | None = None) -> int:
    """The side in pixels of the square that images are scaled to: `side`, or the model's own.

    Raises BadInput when `side` is no multiple of the patch size, or the model only takes its own side.
    """
    visual = model.model.visual
    size = visual.image_size
    own = int(size[0] if isinstance(size, (tuple, list)) else size)
    if side is None or side == own:
        return own
    if not hasattr(visual, "transformer"):
        raise BadInput(f"side {side}: only a ViT takes other sides than its own {own}")
    patch = int(visual.patch_size[0])
    if side % patch:
        raise BadInput(f"side {side}: must be a multiple of the patch of {patch} pixels")
    return side


def square_pixels(model: EvalModel, side: int) -> Callable[[Image.Image], torch.Tensor]:
    """Make a transform: PIL image -> float32 [3, side, side], the whole image scaled to a square and normalised.

    The model's own transform would crop the image to its middle.
    """
    steps: Any = model.preprocess  # open_clip's validation transform; its last step normalises
    normalize = steps.transforms[-1]
    mean = torch.tensor(normalize.mean).view(3, 1, 1)
    std = torch.tensor(normalize.std).view(3, 1, 1)

    def pixels(image: Image.Image) -> torch.Tensor:
        scaled = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
        data = torch.frombuffer(bytearray(scaled.tobytes()), dtype=torch.uint8).view(side, side, 3)
        return (data.permute(2, 0, 1).float() / 255 - mean) / std

    return pixels


def dense_features(model: EvalModel, pixels: torch.Tensor) -> DenseFeatures:
    """Features of the patches of pixels float32 [b, 3, side, side]; gradients can flow through them.

    Raises BadInput for an image tower without such patches.
    """
    visual = model.model.visual
    if _is_vit(visual):
        with _own_values(visual.transformer.resblocks[-1]) as kept, _positions(visual, pixels.shape[-2:]):
            hidden = visual._embeds(pixels)
            hidden = visual.ln_post(visual.transformer(hidden))[:, 1:]
            vectors = hidden @ visual.proj if visual.proj is not None else hidden
        keys = kept[0] if visual.transformer.batch_first else kept[0].transpose(0, 1)
        keys = keys[:, 1:]
        rows, columns = (pixels.shape[-2 + axis] // visual.patch_size[axis] for axis in (0, 1))
        vectors = vectors.view(len(pixels), rows, columns, -1)
    elif hasattr(visual, "attnpool") and hasattr(visual, "stem"):
        grid = visual.stem(pixels)
        for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            grid = layer(grid)
        grid = grid.permute(0, 2, 3, 1)
        pool = visual.attnpool
        vectors, keys = pool.c_proj(pool.v_proj(grid)), pool.k_proj(grid).flatten(1, 2)
    else:
        raise BadInput(
            f"dense features of {type(visual).__name__}: only open_clip's own ViT with a class token and CLIP's "
            "ResNets have patch vectors that compare with texts"
        )
    return DenseFeatures(functional.normalize(vectors.float(), dim=-1), functional.normalize(keys.float(), dim=-1))


def _is_vit(visual: Any) -> bool:
    block = visual.transformer.resblocks[-1] if hasattr(getattr(visual, "transformer", None), "resblocks") else None
    return (
        isinstance(getattr(block, "attn", None), nn.MultiheadAttention)
        and getattr(visual, "attn_pool", None) is None
        and getattr(visual, "pool_type", "tok") == "tok"
        and not getattr(visual, "final_ln_after_pool", False)
    )


@contextmanager
def _own_values(block: Any) -> Iterator[list[torch.Tensor]]:
    """While open, the block's attention returns each token's own value; its keys are appended to the yielded list."""
    kept: list[torch.Tensor] = []
    attention = block.attn

    def values(q_x: torch.Tensor, **_options: Any) -> torch.Tensor:
        _, keys, own = functional.linear(q_x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
        kept.append(keys)
        out: torch.Tensor = attention.out_proj(own)
        return out

    block.attention = values  # shadows the class's method
    try:
        yield kept
    finally:
        del block.attention


@contextmanager
def _positions(visual: Any, size: torch.Size) -> Iterator[None]:
    """While open, the positional embedding is interpolated to images of `size`, as for fine-tuning at 336 pixels."""
    own = visual.positional_embedding
    rows, columns = (size[axis] // visual.patch_size[axis] for axis in (0, 1))
    if rows * columns + 1 == len(own):
        yield
        return
    grid = own[1:].view(*visual.grid_size, -1).permute(2, 0, 1)[None]
    fitted = functional.interpolate(grid.float(), size=(rows, columns), mode="bicubic", antialias=True)
    visual.positional_embedding = nn.Parameter(
        torch.cat([own[:1], fitted[0].permute(1, 2, 0).reshape(rows * columns, -1).to(own.dtype)]), requires_grad=False
    )
    try:
        yield
    finally:
        visual.positional_embedding = own
