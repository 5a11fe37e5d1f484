"""Dense features: a vector for each patch of an image, comparable with texts (MaskCLIP, arXiv 2112.01071, section 3.2).

The last attention of the image tower is skipped: each patch keeps its own value vector instead of a mix of all patches.
All other layers run as usual, gated blocks included. Works for open_clip's ViT with a class token and CLIP's ResNets.

Images may be larger than those that the model was trained on: a ViT's positional embedding is interpolated, and a
ResNet's dense features have none. `windowed_features` goes over an image in overlapping windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from customize.clip.evaluate.datasets.dataset import Example
from customize.clip.evaluate.features import EvalModel
from index.errors import BadInput
from index.read_ahead import read_ahead

__all__ = [
    "DenseFeatures",
    "dense_features",
    "dense_side",
    "is_resnet",
    "prepared_images",
    "scaled_pixels",
    "square_pixels",
    "square_side",
    "windowed_features",
]

LONGEST = 4.0  # the longer side, in shorter ones, at most: MaskCLIP's configuration has 2,048 for 512 pixels
_RESNET_STRIDE = 32  # pixels of an image for a place of a ResNet's last grid


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

    Raises BadInput when `side` is no multiple of the patch size (of 32 for a ResNet).
    """
    visual = model.model.visual
    size = visual.image_size
    own = int(size[0] if isinstance(size, (tuple, list)) else size)
    if side is None or side == own:
        return own
    patch = _patch(visual)
    if side % patch:
        raise BadInput(f"side {side}: must be a multiple of the patch of {patch} pixels")
    return side


def square_side(model: EvalModel, resolution: int) -> int:
    """The side of a square of whole patches that is nearest to `resolution` pixels."""
    patch = _patch(model.model.visual)
    return patch * max(1, round(resolution / patch))


def square_pixels(model: EvalModel, side: int) -> Callable[[Image.Image], torch.Tensor]:
    """Make a transform: PIL image -> float32 [3, side, side], the whole image scaled to a square and normalised.

    The model's own transform would crop the image to its middle.
    """
    return _resized_pixels(model, lambda image: (side, side))


def scaled_pixels(model: EvalModel, resolution: int, longest: float = LONGEST) -> Callable[[Image.Image], torch.Tensor]:
    """Make a transform: PIL image -> float32 [3, h, w], the whole image scaled and normalised; it keeps its shape.

    Its shorter side has `resolution` pixels, and its longer one at most `longest` times as many, so that the shorter
    side of a very long image has less. Both are rounded to whole patches.
    """
    patch = _patch(model.model.visual)

    def size(image: Image.Image) -> tuple[int, int]:
        scale = min(resolution / min(image.size), longest * resolution / max(image.size))
        width, height = (patch * max(1, round(side * scale / patch)) for side in image.size)
        return width, height

    return _resized_pixels(model, size)


def prepared_images(
    examples: Iterable[Example], pixels: Callable[[Image.Image], torch.Tensor], batch_size: int = 1
) -> Iterator[tuple[list[tuple[Example, tuple[int, int]]], torch.Tensor]]:
    """Batches of examples with their images' own (width, height), and their pixels, float32 [b, 3, h, w].

    A batch ends before an image of another size. The next images are decoded while the caller works on one batch.
    """

    def each() -> Iterator[tuple[Example, tuple[int, int], torch.Tensor]]:
        for example in examples:
            image = example.open()
            yield example, image.size, pixels(image)

    about: list[tuple[Example, tuple[int, int]]] = []
    held: list[torch.Tensor] = []
    with closing(read_ahead(each(), 2 * batch_size)) as ready:
        for example, size, one in ready:
            if held and (len(held) == batch_size or held[0].shape != one.shape):
                yield about, torch.stack(held)
                about, held = [], []
            about.append((example, size))
            held.append(one)
    if held:
        yield about, torch.stack(held)


def dense_features(model: EvalModel, pixels: torch.Tensor) -> DenseFeatures:
    """Features of the patches of pixels float32 [b, 3, h, w], whole patches; gradients can flow through them.

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
    elif is_resnet(visual):
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


def windowed_features(model: EvalModel, pixels: torch.Tensor, window: int | None = None) -> DenseFeatures:
    """`dense_features`, or those of square windows of `window` pixels with half of a window between them.

    A patch that lies in several windows gets their mean. Windows keep a model near the size that it was trained at, and
    attention over a large image within the memory.

    Raises:
        BadInput: `window` is no multiple of the patch size (of 32 for a ResNet).
    """
    patch = _patch(model.model.visual)
    if window is None or window >= max(pixels.shape[-2:]):
        return dense_features(model, pixels)
    if window < patch or window % patch:
        raise BadInput(f"window {window}: must be a multiple of the patch of {patch} pixels")
    rows, columns = (side // patch for side in pixels.shape[-2:])
    sums: list[torch.Tensor] = []
    for top in _starts(rows, window // patch):
        for left in _starts(columns, window // patch):
            part = (slice(top, top + window // patch), slice(left, left + window // patch))
            y, x = (slice(one.start * patch, one.stop * patch) for one in part)
            found = dense_features(model, pixels[..., y, x])
            keys = found.keys.view(*found.vectors.shape[:3], -1)
            if not sums:
                sums = [one.new_zeros(len(pixels), rows, columns, one.shape[-1]) for one in (found.vectors, keys)]
            for whole, one in zip(sums, (found.vectors, keys), strict=True):
                whole[:, part[0], part[1]] += one
    vectors, keys = (functional.normalize(whole, dim=-1) for whole in sums)  # a mean and a sum have one direction
    return DenseFeatures(vectors, keys.flatten(1, 2))


def is_resnet(visual: Any) -> bool:
    """Whether an image tower is one of CLIP's ResNets, with its attention pooling."""
    return all(hasattr(visual, name) for name in ("attnpool", "stem", "layer4"))


def _patch(visual: Any) -> int:
    return int(visual.patch_size[0]) if hasattr(visual, "patch_size") else _RESNET_STRIDE


def _starts(count: int, window: int) -> list[int]:
    """Where windows over `count` patches begin: half a window apart, the last one at the end."""
    if count <= window:
        return [0]
    return [*range(0, count - window, max(1, window // 2)), count - window]


def _resized_pixels(
    model: EvalModel, size: Callable[[Image.Image], tuple[int, int]]
) -> Callable[[Image.Image], torch.Tensor]:
    steps: Any = model.preprocess  # open_clip's validation transform; its last step normalises
    normalize = steps.transforms[-1]
    mean = torch.tensor(normalize.mean).view(3, 1, 1)
    std = torch.tensor(normalize.std).view(3, 1, 1)

    def pixels(image: Image.Image) -> torch.Tensor:
        width, height = size(image)
        scaled = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        data = torch.frombuffer(bytearray(scaled.tobytes()), dtype=torch.uint8).view(height, width, 3)
        return (data.permute(2, 0, 1).float() / 255 - mean) / std

    return pixels


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
