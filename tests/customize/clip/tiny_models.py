"""Tiny open_clip models, of open_clip's own classes: 32 x 32 pixels, vectors of 16, three blocks a tower."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

TEXT = {"context_length": 12, "vocab_size": 64, "width": 32, "heads": 2, "layers": 3}
VIT = {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8}
RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None}
TIMM = {"image_size": 32, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear"}


def clip(vision: dict[str, Any] = VIT, *, custom_text: bool = False, seed: int = 0, quick_gelu: bool = False) -> Any:
    """A `CLIP`, or a `CustomTextCLIP`, in eval mode."""
    import open_clip

    build: Callable[..., Any] = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(embed_dim=16, vision_cfg=dict(vision), text_cfg=dict(TEXT), quick_gelu=quick_gelu).eval()


def images(count: int = 4, seed: int = 1) -> torch.Tensor:
    """float32 [count, 3, 32, 32]."""
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def tokens(count: int = 4, seed: int = 2) -> torch.Tensor:
    """int64 [count, 12]: words below the end mark 63, which comes once."""
    ids = torch.randint(1, 60, (count, 12), generator=torch.Generator().manual_seed(seed))
    ids[:, 8] = 63
    ids[:, 9:] = 0
    return ids


def features(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Of `images()` and `tokens()`, without gradients."""
    with torch.no_grad():
        return model.encode_image(images()), model.encode_text(tokens())
