"""Trains the scenes' CLIP from random weights and writes it as an open_clip local-dir model.

    python -m scenes.training.train_clip --data FOLDER --out scenes/models/clip --minutes 60

`FOLDER` is filled by `train_data.prepare` when it is empty. A killed run continues from its last checkpoint. On a CPU,
one process a core with averaged gradients is faster than one process with many threads, since the tensors are small:

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m scenes.training.train_clip --data FOLDER

`model_card.py` evaluates the model.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from scenes.training.objective import REGION_WEIGHT, Batch, contrastive_loss
from scenes.training.tokenizer import CONTEXT_LENGTH, VOCABULARY, Tokens
from scenes.training.train_data import REGION_CONTEXT, prepare
from scenes.world.catalog import load_catalog
from scenes.world.words import indefinite

MODEL_FOLDER = Path(__file__).parent.parent / "models" / "clip"
MEAN = (0.48145466, 0.4578275, 0.40821073)  # open_clip's constants.OPENAI_DATASET_MEAN and _STD
STD = (0.26862954, 0.26130258, 0.27577711)

MODEL: dict[str, Any] = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 96, "patch_size": 12, "layers": 8, "width": 160, "head_width": 32},
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": VOCABULARY,
        "width": 160,
        "heads": 5,
        "layers": 4,
        "hf_tokenizer_name": ".",  # open_clip reads the tokenizer from the model's own folder
        "tokenizer_kwargs": {"clean": "whitespace"},
    },
}
# Shares of the training texts: alt text, clean captions, dense ones, one object's phrase, one object's bare name.
TEXT_SHARES = (0.2, 0.45, 0.1, 0.05, 0.2)
NAME_SHARE = 0.5  # share of bare names among the objects' texts; the others are phrases
# {a}: the name with its article; {n}: the bare name, so that "a photo of a apple" is learned as a prompt too.
NAME_TEMPLATES = (
    "{n}", "{a}", "a photo of {a}", "a photo of a {n}.", "a picture of {a}", "an image of {a}.", "there is {a}", "{n}."
)  # fmt: skip
KEPT_PATCHES = 32  # of 64, as in FLIP (arXiv 2212.00794), for more images in the time; all in the last fifth
BATCH = 128  # per process; chosen for more steps in the time, other sizes were not tried
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.1
WARMUP = 150
CHECKPOINT_EVERY = 250


def name_tokens(folder: Path) -> torch.Tensor:
    """int64 [types, templates, tokens]: the name of every type in all NAME_TEMPLATES, in the catalog's order."""
    names = list(load_catalog().types)
    texts = [template.format(a=indefinite(name), n=name) for name in names for template in NAME_TEMPLATES]
    tokens = Tokens(folder, REGION_CONTEXT).encode(texts).astype(np.int64)
    return torch.from_numpy(tokens).view(len(names), len(NAME_TEMPLATES), -1)


def fitted(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens [n, context] cut to the length of the longest text."""
    return tokens[:, : int((tokens != 0).sum(1).max())]


class Batches:
    """Random batches from the prepared arrays; a batch depends only on its step, so that a run can resume."""

    def __init__(self, data: Path, batch: int, seed: int) -> None:
        self.images, self.tokens, self.region_tokens, self.types, self.patches = (
            np.load(data / f"{name}.npy", mmap_mode="r")
            for name in ("images", "tokens", "region_tokens", "region_types", "region_patches")
        )
        self.names = name_tokens(data / "tokenizer")
        self.batch, self.seed = batch, seed

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """The scene numbers of a step, sorted; an epoch has each scene once."""
        epoch, position = divmod(step, len(self.images) // self.batch)
        order = np.random.default_rng((self.seed, 1 << 20, epoch)).permutation(len(self.images))
        return np.sort(order[position * self.batch : (position + 1) * self.batch])

    def pixels(self, rows: npt.NDArray[np.int64], random: np.random.Generator) -> torch.Tensor:
        """Normalized pixels float32 [batch, 3, 96, 96] with small changes of brightness.

        Without flips (captions say left and right), crops (they count objects) and shifts (patches have objects).
        """
        gain = random.uniform(0.9, 1.1, (len(rows), 1, 1, 1)).astype(np.float32)
        pixels = torch.from_numpy(np.ascontiguousarray(self.images[rows].transpose(0, 3, 1, 2))).float()
        scale = torch.tensor(gain) / (255 * torch.tensor(STD).view(1, 3, 1, 1))
        return pixels.mul_(scale).sub_((torch.tensor(MEAN) / torch.tensor(STD)).view(1, 3, 1, 1))

    def __call__(self, step: int, device: str) -> Batch:
        """The batch of a step, with at most two objects an image on average."""
        random = np.random.default_rng((self.seed, step))
        rows = self.rows(step)
        types = self.types[rows].astype(np.int64)
        kind = random.choice(5, self.batch, p=TEXT_SHARES)
        column = np.where(kind == 1, 1 + random.integers(0, 5, self.batch), np.array([0, 1, 6, 7, 1])[kind])
        tokens = torch.from_numpy(self.tokens[rows, column].astype(np.int64))
        chosen = types[np.arange(self.batch), random.integers(0, np.maximum(1, (types >= 0).sum(1)))]
        named = np.where(kind == 4, chosen, -1)
        tokens = self._with_names(tokens, named, random)
        image, position = np.nonzero(types >= 0)
        some = np.sort(random.permutation(len(image))[: 2 * self.batch])
        image, position = image[some], position[some]
        region_type = types[image, position]
        region_named = np.where(random.random(len(some)) < NAME_SHARE, region_type, -1)
        phrases = torch.from_numpy(self.region_tokens[rows[image], position].astype(np.int64))
        covered = np.unpackbits(self.patches[rows[image], position], axis=1).astype(np.bool_)
        batch = Batch(
            self.pixels(rows, random),
            fitted(tokens),
            torch.from_numpy(named),
            torch.from_numpy(types),
            torch.from_numpy(image),
            torch.from_numpy(covered),
            fitted(self._with_names(phrases, region_named, random)),
            torch.from_numpy(region_named),
            torch.from_numpy(region_type),
        )
        return Batch(*(getattr(batch, field.name).to(device) for field in dataclasses.fields(batch)))

    def _with_names(
        self, tokens: torch.Tensor, named: npt.NDArray[np.int64], random: np.random.Generator
    ) -> torch.Tensor:
        """The tokens, replaced by those of a bare name where `named` is a type."""
        rows = np.flatnonzero(named >= 0)
        names = self.names[named[rows], random.integers(0, len(NAME_TEMPLATES), len(rows))]
        tokens[rows] = F.pad(names, (0, tokens.shape[1] - names.shape[1]))
        return tokens


def export(
    model: CLIP,
    data: Path,
    out: Path,
    log: list[dict[str, Any]],
    about: dict[str, Any],
    model_cfg: dict[str, Any] = MODEL,
) -> None:
    """Write the model as an open_clip local-dir folder: configuration, fp16 weights, tokenizer, training log."""
    out.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {name: tensor.half().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, str(out / "open_clip_model.safetensors"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(data / "tokenizer" / name, out / name)
    (out / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    (out / "training.json").write_text(json.dumps(about, indent=2) + "\n")


def average_gradients(model: CLIP) -> None:
    """Replace every gradient by its mean over the processes, in one all-reduce."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    place = 0
    for gradient in gradients:
        gradient.copy_(flat[place : place + gradient.numel()].view_as(gradient))
        place += gradient.numel()


def train(data: Path, out: Path, minutes: float, steps: int, batch: int = BATCH, seed: int = 0) -> CLIP:
    """Train for `steps` steps or `minutes`, whichever ends first, and export the model.

    The cosine schedule follows the larger share of the two, so that it always ends at zero.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rank, workers = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if workers > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(seed)
    model = CLIP(MODEL["embed_dim"], dict(MODEL["vision_cfg"]), dict(MODEL["text_cfg"])).to(device).train()
    trunk = torch.compile(model.visual.transformer, dynamic=False)  # about 1.4 times as fast on a CPU
    decay = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), eps=1e-6, fused=True)
    batches = Batches(data, batch, seed)
    checkpoint = data / "checkpoint.pt"
    step, seconds, log = 0, 0.0, []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds, log = state["step"], state["seconds"], json.loads(state["log"])
    # On CPU the fused attention's backward pass is slower than plain matrix products at 65 tokens.
    attention = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else contextlib.nullcontext()
    torch.manual_seed(seed + 1000 * step + rank)  # decides which patches are kept
    bar = tqdm(total=1.0, desc="training", bar_format="{l_bar}{bar}| {postfix}", disable=rank > 0)
    started = time.monotonic() - seconds
    with attention:
        while True:
            seconds = time.monotonic() - started
            if workers > 1:  # all processes use the time of the first one
                clock = torch.tensor([seconds])
                dist.broadcast(clock, 0)
                seconds = clock.item()
            done = max(step / steps, seconds / (60 * minutes))
            if done >= 1:
                break
            rate = LEARNING_RATE * min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * done)) / 2
            for group in optimizer.param_groups:
                group["lr"] = rate
            batch_of_step = batches(step * workers + rank, device)
            pictures, objects = contrastive_loss(model, batch_of_step, KEPT_PATCHES if done < 0.8 else None, trunk)
            loss = pictures + REGION_WEIGHT * objects
            if not torch.isfinite(loss):
                raise SystemExit(f"step {step}: the loss is {loss.item()}; the last checkpoint is {checkpoint}")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if workers > 1:
                average_gradients(model)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            step += 1
            if step % 25 == 0:
                row = {"step": step, "seconds": round(seconds, 1), "loss": round(pictures.item(), 4)}
                row |= {"object_loss": round(objects.item(), 4), "lr": round(rate, 6)}
                log.append({**row, "logit_scale": round(model.logit_scale.exp().item(), 2)})
                bar.n = round(done, 3)
                scale = model.logit_scale.exp().item()
                bar.set_postfix_str(f"step {step} loss {pictures:.3f} objects {objects:.3f} scale {scale:.1f}")
            if step % CHECKPOINT_EVERY == 0 and rank == 0:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
                torch.save({**state, "seconds": seconds, "log": json.dumps(log)}, checkpoint.with_suffix(".new"))
                checkpoint.with_suffix(".new").replace(checkpoint)
    about = {
        "scenes": len(batches.images),
        "steps": step,
        "batch": batch * workers,
        "minutes": round(seconds / 60, 1),
        "hardware": f"{workers * torch.get_num_threads()} CPU cores",
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    if device == "cuda":
        about["hardware"] = torch.cuda.get_device_name()
    if rank == 0:
        export(model, data, out, log, about)
    return model.eval()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Train the scenes' CLIP from random weights and export it.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the prepared arrays and the checkpoint")
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER, help="folder of the exported model")
    parser.add_argument("--minutes", type=float, default=60.0, help="longest training (default: 60)")
    parser.add_argument("--steps", type=int, default=6_000, help="most steps (default: 6,000)")
    parser.add_argument("--scenes", type=int, default=100_000, help="scenes to prepare (default: 100,000)")
    args = parser.parse_args(arguments)
    prepare(args.data, count=args.scenes)
    train(args.data, args.out, args.minutes, args.steps)


if __name__ == "__main__":
    main()
