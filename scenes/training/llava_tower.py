"""Turns the scenes' CLIP tower into one with 16 tokens an image, and teaches it what is in each of its patches.

The tower of `models/clip` has patches of 12 pixels, 64 tokens an image; a language model of a few million weights reads
that slowly. `tower_of_clip` copies its blocks into a `CLIPVisionModel` with patches of 24 pixels. `train_tower` then
teaches every token, through linear heads that are thrown away afterwards, the truth of its patch: types, colours and
poses of the objects that cover it, whether it is the main patch of an object, place and light.
Run as: python -m scenes.training.llava_tower --data FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from scenes.training.llava_images import GRID, OBJECTS, SIZE
from scenes.training.train_clip import MEAN, MODEL, MODEL_FOLDER, STD
from scenes.world.catalog import LIGHTS, load_catalog
from scenes.world.easy import EASY_TYPES, easy_scene
from scenes.world.words import COLORS, color_word

if TYPE_CHECKING:
    from transformers import CLIPVisionModel

PATCH = SIZE // GRID  # pixels a side
COVERED = 0.12  # share of a patch from which it shows an object; an object's main patch always does
RATE, BATCH, WARMUP = 6e-4, 128, 100
POSES = tuple(sorted({pose for name in EASY_TYPES for pose in load_catalog().types[name].poses}))
PLACES = tuple(sorted(load_catalog().places))
# Columns of the labels of a patch: types that cover it, types whose main patch it is, colours, poses.
HEADS = {"types": len(EASY_TYPES), "main": len(EASY_TYPES), "colors": len(COLORS), "poses": len(POSES)}
COLUMNS = sum(HEADS.values())


def tower_config() -> dict[str, Any]:
    """The keys of the tower's `CLIPVisionConfig`."""
    clip = MODEL["vision_cfg"]
    return {
        "hidden_size": clip["width"],
        "intermediate_size": 4 * clip["width"],
        "num_hidden_layers": clip["layers"],
        "num_attention_heads": clip["width"] // clip["head_width"],
        "image_size": SIZE,
        "patch_size": PATCH,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "projection_dim": MODEL["embed_dim"],
    }


def _coarser(weight: torch.Tensor) -> torch.Tensor:
    """A patch kernel [width, 3, 12, 12] for patches of twice the side: the same answer to a picture twice as large."""
    return F.interpolate(weight.float(), scale_factor=2, mode="bilinear", align_corners=False) / 4


def tower_of_clip(folder: Path = MODEL_FOLDER) -> CLIPVisionModel:
    """A `CLIPVisionModel` with patches of 24 pixels and the blocks of the open_clip tower in `folder`."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    clip = {key: value.float() for key, value in load_file(str(folder / "open_clip_model.safetensors")).items()}
    tower = CLIPVisionModel(CLIPVisionConfig(**tower_config()))
    fine = clip["visual.positional_embedding"]
    side = int(math.sqrt(len(fine) - 1))
    grid = F.avg_pool2d(fine[1:].T.reshape(1, -1, side, side), side // GRID)
    state = {
        "embeddings.class_embedding": clip["visual.class_embedding"],
        "embeddings.patch_embedding.weight": _coarser(clip["visual.conv1.weight"]),
        "embeddings.position_embedding.weight": torch.cat([fine[:1], grid.flatten(2)[0].T]),
    }
    names = {"ln_pre": "pre_layrnorm", "ln_post": "post_layernorm"}
    for layer in range(tower.config.num_hidden_layers):
        here, there = f"transformer.resblocks.{layer}", f"encoder.layers.{layer}"
        names[f"{here}.ln_1"], names[f"{here}.ln_2"] = f"{there}.layer_norm1", f"{there}.layer_norm2"
        names[f"{here}.mlp.c_fc"], names[f"{here}.mlp.c_proj"] = f"{there}.mlp.fc1", f"{there}.mlp.fc2"
        names[f"{here}.attn.out_proj"] = f"{there}.self_attn.out_proj"
        for kind in ("weight", "bias"):
            joined = clip[f"visual.{here}.attn.in_proj_{kind}"].chunk(3)
            for name, part in zip(("q_proj", "k_proj", "v_proj"), joined, strict=True):
                state[f"{there}.self_attn.{name}.{kind}"] = part
    for here, there in names.items():
        for kind in ("weight", "bias"):
            state[f"{there}.{kind}"] = clip[f"visual.{here}.{kind}"]
    tower.load_state_dict(state, strict=True)
    return tower


def pixels_of(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Normalized pixels float32 [n, 3, s, s] of images uint8 [n, s, s, 3], as the processor makes them."""
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float() / 255
    return (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def patch_labels(
    split: str, numbers: Sequence[int], covered: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """bool [n, 16, COLUMNS]: what each patch shows; int64 [n, 2]: numbers of place and light."""
    labels = np.zeros((len(numbers), GRID * GRID, COLUMNS), np.bool_)
    whole = np.zeros((len(numbers), 2), np.int64)
    starts = np.cumsum([0, *HEADS.values()])
    for row, (number, shares) in enumerate(zip(numbers, covered, strict=True)):
        scene = easy_scene(split, number)
        whole[row] = PLACES.index(scene.place), LIGHTS.index(scene.light)
        for thing, share in zip(scene.objects, shares[:OBJECTS], strict=False):
            main = int(share.argmax())
            shown = np.flatnonzero((share >= 255 * COVERED) | (np.arange(len(share)) == main))
            kind, color = EASY_TYPES.index(thing.type), color_word(thing.hue, thing.saturation, thing.lightness)
            for patches, column in (
                (shown, starts[0] + kind),
                ([main], starts[1] + kind),
                (shown, starts[2] + COLORS.index(color)),
                (shown, starts[3] + POSES.index(thing.pose)),
            ):
                labels[row, patches, column] = True
    return labels, whole


class PatchHeads(nn.Module):
    """Linear answers of every token about its patch, and about the whole picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.patch = nn.Linear(width, COLUMNS)
        self.whole = nn.Linear(width, len(PLACES) + len(LIGHTS))

    def loss(
        self, tokens: torch.Tensor, labels: torch.Tensor, whole: torch.Tensor
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss of tokens [n, 16, width], and F1 or accuracy by kind of label."""
        normed = self.norm(tokens)
        logits = self.patch(normed)
        target = labels.to(logits.dtype)
        loss = F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / (8 * len(tokens))
        guesses = self.whole(normed).split([len(PLACES), len(LIGHTS)], dim=-1)
        for column, guess in enumerate(guesses):
            truth = whole[:, column, None].expand(-1, tokens.shape[1])
            loss = loss + 0.5 * F.cross_entropy(guess.flatten(0, 1), truth.flatten())
        with torch.no_grad():
            found: dict[str, float] = {}
            sizes = list(HEADS.values())
            said, shown = torch.split(logits > 0, sizes, dim=-1), torch.split(labels, sizes, dim=-1)
            for name, guessed, true in zip(HEADS, said, shown, strict=True):
                right = int((guessed & true).sum())
                found[name] = round(2 * right / max(1, int(guessed.sum()) + int(true.sum())), 3)
            found["place"] = round(float((guesses[0].mean(1).argmax(-1) == whole[:, 0]).float().mean()), 3)
        return loss, found


def train_tower(data: Path, out: Path, steps: int, split: str = "language", seed: int = 0) -> None:
    """Train for `steps` steps on the arrays of `data`; writes OUT/tower.safetensors and OUT/tower_log.jsonl."""
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    images, covered = (np.load(data / f"{name}.npy", mmap_mode="r") for name in ("images", "covered"))
    held = min(500, len(images) // 10)
    tower = tower_of_clip().train()
    tower.set_attn_implementation("eager")  # at 17 tokens twice as fast on a CPU as the fused one
    heads = PatchHeads(tower.config.hidden_size)
    weights = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    random = np.random.default_rng(seed)
    started = time.monotonic()
    last_rows = np.arange(len(images) - held, len(images))
    labels, whole = patch_labels(split, range(len(images)), covered)

    def answer(rows: npt.NDArray[np.int64]) -> tuple[torch.Tensor, dict[str, float]]:
        with torch.autocast("cpu", torch.bfloat16):
            tokens = tower(pixels_of(images[rows])).last_hidden_state[:, 1:]
        return heads.loss(tokens.float(), torch.from_numpy(labels[rows]), torch.from_numpy(whole[rows]))

    with (out / "tower_log.jsonl").open("w") as log:
        for step in range(steps):
            rate = RATE * min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2
            for group in optimizer.param_groups:
                group["lr"] = rate
            rows = np.sort(random.integers(0, len(images) - held, BATCH))
            loss, _ = answer(rows)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            if (step + 1) % 50 == 0 or step + 1 == steps:
                row: dict[str, Any] = {"step": step + 1, "seconds": round(time.monotonic() - started, 1)}
                row["loss"] = round(loss.item(), 4)
                with torch.no_grad():
                    held_loss, found = answer(last_rows)
                row |= {"held_loss": round(held_loss.item(), 4), **found}
                log.write(json.dumps(row) + "\n")
                log.flush()
            if (step + 1) % 400 == 0 or step + 1 == steps:
                state = {name: tensor.detach().contiguous() for name, tensor in tower.state_dict().items()}
                save_file(state, str(out / "tower.safetensors.new"))
                (out / "tower.safetensors.new").replace(out / "tower.safetensors")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Teach the scenes' CLIP tower its coarse patches.")
    parser.add_argument("--data", type=Path, required=True, help="folder of llava_images.py's arrays")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tower's weights and log")
    parser.add_argument("--steps", type=int, default=1_500, help="steps of 128 images (default: 1,500)")
    given = parser.parse_args(arguments)
    train_tower(given.data, given.out, given.steps)


if __name__ == "__main__":
    main()
