"""Trains a CLIP on alt text alone, as CLIP was trained on the web's, and writes it as an open_clip local-dir model.

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m scenes.training.train_web_clip --work FOLDER

It is the base that `benchmarks.react_gain` customizes. Unlike `train_clip` it sees no clean captions, no names and no
objects: each picture has one text, its alt text, of which 18% are wrong or off-topic. The loss is CLIP's. `FOLDER`
gets the tars and arrays of the scenes and the checkpoint, from which a killed run continues.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from open_clip.model import CLIP
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from scenes.training.objective import Trunk, encode_image, encode_mixed
from scenes.training.tokenizer import VOCABULARY
from scenes.training.train_clip import MEAN, STD, average_gradients, export, fitted
from scenes.training.web_data import CONTEXT, IMAGE_SIZE, prepare_web

MODEL_FOLDER = Path(__file__).parent.parent / "models" / "web_clip"
PATCH = 9
MODEL: dict[str, Any] = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": IMAGE_SIZE, "patch_size": PATCH, "layers": 6, "width": 128, "head_width": 32},
    "text_cfg": {
        "context_length": CONTEXT,
        "vocab_size": VOCABULARY,
        "width": 128,
        "heads": 4,
        "layers": 3,
        "hf_tokenizer_name": ".",
        "tokenizer_kwargs": {"clean": "whitespace"},
    },
}
KEPT_PATCHES = 24  # of 64, as in FLIP (arXiv 2212.00794); all in the last part of the training
MASKED = 0.85  # that part begins here
BATCH = 128  # per process
LEARNING_RATE = 1.5e-3
WEIGHT_DECAY = 0.1
WARMUP = 200
CHECKPOINT_EVERY = 250


class WebBatches:
    """Random batches of pictures and alt texts; a batch depends only on its step, so that a run can resume."""

    def __init__(self, data: Path, batch: int, seed: int) -> None:
        self.images, self.tokens = (np.load(data / f"{name}.npy", mmap_mode="r") for name in ("images", "tokens"))
        self.batch, self.seed = batch, seed
        self._epoch: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """The pairs of a step, sorted; an epoch has each pair once."""
        epoch, position = divmod(step, len(self.images) // self.batch)
        if self._epoch[0] != epoch:
            order = np.random.default_rng((self.seed, 1 << 20, epoch)).permutation(len(self.images))
            self._epoch = (epoch, order)
        return np.sort(self._epoch[1][position * self.batch : (position + 1) * self.batch])

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalized pixels float32 [batch, 3, size, size], and tokens int64 [batch, longest].

        Half of the pictures are mirrored: alt texts do not say left and right.
        """
        random, rows = np.random.default_rng((self.seed, step)), self.rows(step)
        images = self.images[rows]
        mirrored = random.random(len(rows)) < 0.5
        images[mirrored] = images[mirrored, :, ::-1]
        gain = torch.tensor(random.uniform(0.9, 1.1, (len(rows), 1, 1, 1)).astype(np.float32))
        pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float()
        scale = gain / (255 * torch.tensor(STD).view(1, 3, 1, 1))
        pixels.mul_(scale).sub_((torch.tensor(MEAN) / torch.tensor(STD)).view(1, 3, 1, 1))
        return pixels, fitted(torch.from_numpy(self.tokens[rows].astype(np.int64)))


def clip_loss(model: CLIP, pixels: torch.Tensor, tokens: torch.Tensor, keep: int | None, trunk: Trunk) -> torch.Tensor:
    """CLIP's loss of a batch. keep: random patches used of each picture; None: all."""
    kept = None
    if keep is not None:
        patches = len(model.visual.positional_embedding) - 1
        kept = torch.rand(len(pixels), patches, device=pixels.device).topk(keep, dim=1).indices
    with torch.autocast(pixels.device.type, dtype=torch.bfloat16):
        image = encode_image(model, pixels, kept, trunk)[0]
        text = encode_mixed(model, tokens)
    image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
    logits = model.logit_scale.exp() * image @ text.T
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def train(
    data: Path, out: Path, minutes: float, steps: int, batch: int = BATCH, seed: int = 0, model_cfg: Any = MODEL
) -> CLIP:
    """Train for `steps` steps or `minutes`, whichever ends first, and export the model.

    The cosine schedule follows the larger share of the two, so that it always ends at zero.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rank, workers = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if workers > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(seed)
    model = CLIP(model_cfg["embed_dim"], dict(model_cfg["vision_cfg"]), dict(model_cfg["text_cfg"])).to(device).train()
    trunk = torch.compile(model.visual.transformer, dynamic=False)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), eps=1e-6, fused=True)
    batches = WebBatches(data, batch, seed)
    checkpoint = data / "checkpoint.pt"
    step, seconds, log = 0, 0.0, []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds, log = state["step"], state["seconds"], json.loads(state["log"])
    attention = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else contextlib.nullcontext()
    torch.manual_seed(seed + 1000 * step + rank)  # decides which patches are kept
    bar = tqdm(total=1.0, desc="training", bar_format="{l_bar}{bar}| {postfix}", disable=rank > 0)
    started = time.monotonic() - seconds
    with attention:
        while True:
            seconds = _shared(time.monotonic() - started, workers)
            done = max(step / steps, seconds / (60 * minutes))
            if done >= 1:
                break
            rate = LEARNING_RATE * min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * done)) / 2
            for group in optimizer.param_groups:
                group["lr"] = rate
            pixels, tokens = (part.to(device) for part in batches(step * workers + rank))
            loss = clip_loss(model, pixels, tokens, KEPT_PATCHES if done < MASKED else None, trunk)
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
                row = {"step": step, "seconds": round(seconds, 1), "loss": round(loss.item(), 4), "lr": round(rate, 6)}
                log.append({**row, "logit_scale": round(model.logit_scale.exp().item(), 2)})
                bar.n = round(done, 3)
                bar.set_postfix_str(f"step {step} loss {loss.item():.3f}")
            if step % CHECKPOINT_EVERY == 0 and rank == 0:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
                torch.save({**state, "seconds": seconds, "log": json.dumps(log)}, checkpoint.with_suffix(".new"))
                checkpoint.with_suffix(".new").replace(checkpoint)
    about = {
        "split": "web_pretrain",
        "scenes": len(batches.images),
        "steps": step,
        "batch": batch * workers,
        "minutes": round(seconds / 60, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    if rank == 0:
        export(model, data, out, log, about, model_cfg)
    return model.eval()


def _shared(seconds: float, workers: int) -> float:
    """The first process's time, which all use."""
    if workers == 1:
        return seconds
    clock = torch.tensor([seconds])
    dist.broadcast(clock, 0)
    return clock.item()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Train a CLIP on the scenes' alt text alone and export it.")
    parser.add_argument("--work", type=Path, required=True, help="folder of the tars, the arrays and the checkpoint")
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER, help="folder of the exported model")
    parser.add_argument("--minutes", type=float, default=35.0, help="longest training (default: 35)")
    parser.add_argument("--steps", type=int, default=5_000, help="most steps (default: 5,000)")
    parser.add_argument("--scenes", type=int, default=100_000, help="scenes to train on (default: 100,000)")
    args = parser.parse_args(arguments)
    if int(os.environ.get("RANK", 0)) == 0:
        prepare_web(args.work / "arrays", args.work / "web_pretrain", args.scenes)
    while not (args.work / "arrays" / "done.json").exists():
        time.sleep(1)
    train(args.work / "arrays", args.out, args.minutes, args.steps)


if __name__ == "__main__":
    main()
