"""Trains the small ResNet CLIP from captions, by CLIP's own loss."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch.nn import functional

from benchmarks.detection.world import SIDE, World
from scenes.training.tokenizer import VOCABULARY, Tokens, train_tokenizer
from scenes.training.train_clip import MEAN, STD

CONTEXT = 24  # tokens; few captions have more
LEARNING_RATE = 1e-3
WARMUP = 20


def train_clip(world: World) -> Path:
    """Train the CLIP and write it as a model folder; nothing is done where the folder is complete."""
    plan, out = world.plan, world.root / "clip"
    if (out / "open_clip_config.json").exists():
        return out
    images, texts = world.pretraining()
    train_tokenizer([text for own in texts for text in own], out)
    tokens = Tokens(out, CONTEXT).encode([text for own in texts for text in own])
    ids = torch.from_numpy(tokens.astype(np.int64)).view(len(texts), len(texts[0]), CONTEXT)
    model_cfg = _model(plan.width)
    torch.manual_seed(0)
    model = CLIP(model_cfg["embed_dim"], dict(model_cfg["vision_cfg"]), dict(model_cfg["text_cfg"])).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.1)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (MEAN, STD))
    chance = np.random.default_rng(0)
    losses = []
    for step in range(plan.clip_steps):
        rows = chance.choice(len(images), plan.clip_batch, replace=False)
        pixels = (torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255 - mean) / std
        said = ids[rows, torch.from_numpy(chance.integers(0, ids.shape[1], len(rows)))]
        share = min(1.0, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / plan.clip_steps)) / 2
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * share
        image = model.encode_image(pixels, normalize=True)
        text = model.encode_text(said, normalize=True)
        logits = model.logit_scale.exp() * image @ text.T
        own = torch.arange(len(rows))
        loss = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses.append(float(loss.detach()))
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()}, out / "open_clip_model.safetensors"
    )
    world.write("clip.json", {"images": len(images), "losses": losses})
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (out / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess}))
    return out


def _model(width: int) -> dict[str, Any]:
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": SIDE, "layers": [1, 1, 1, 1], "width": width, "patch_size": None},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": VOCABULARY,
            "width": 128,
            "heads": 4,
            "layers": 2,
            "hf_tokenizer_name": ".",
            "tokenizer_kwargs": {"clean": "whitespace"},
        },
    }
