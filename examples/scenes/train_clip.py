"""Trains the scenes' CLIP from nothing and writes it as an open_clip local-dir model.

    python -m examples.scenes.train_clip --data FOLDER --out examples/scenes/model --minutes 60

`FOLDER` is filled by `train_data.prepare` when it is empty. A killed run goes on from its last checkpoint. On a CPU,
one process a core with gradients averaged is faster than one process with many threads, since the tensors are small:

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m examples.scenes.train_clip --data FOLDER

The evaluation is `model_card.py`'s.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.transformer import PatchDropout
from safetensors.torch import save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from examples.scenes.tokenizer import CONTEXT_LENGTH, VOCABULARY
from examples.scenes.train_data import prepare

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
# Share of training captions by kind: alt text, one of five clean ones, dense, one object's phrase.
CAPTION_SHARES = (0.2, 0.55, 0.15, 0.1)
PATCH_DROPOUT = 0.5  # FLIP (arXiv 2212.00794): half the patches, twice the images; the last fifth sees all
BATCH = 128  # a process; chosen for more steps in the time there was, not compared with others
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.1
TEXT_BOUNDS = (12, 26)  # tokens: half of the captions are shorter than the first; dense ones take 40 to 64
WARMUP = 150
CHECKPOINT_EVERY = 250


def encode_text(model: CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """Text features [n, 512] as `CLIP.encode_text` gives them, for tokens cut to the batch's longest text.

    Positions after end-of-text cannot be seen through the causal mask, so leaving them out changes nothing.
    """
    length = tokens.shape[1]
    hidden = model.token_embedding(tokens) + model.positional_embedding[:length]
    hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:length, :length]))
    pooled = hidden[torch.arange(len(tokens)), tokens.argmax(dim=-1)]
    features: torch.Tensor = pooled @ model.text_projection
    return features


def encode_mixed(model: CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """`encode_text` with texts of like length together, so that a few dense captions don't pad all others."""
    lengths = (tokens != 0).sum(1)
    kind = torch.bucketize(lengths, torch.tensor(TEXT_BOUNDS, device=tokens.device))
    features = tokens.new_zeros((len(tokens), MODEL["embed_dim"]), dtype=torch.float32)
    for rows in (torch.nonzero(kind == place)[:, 0] for place in range(len(TEXT_BOUNDS) + 1)):
        if len(rows):
            part = encode_text(model, tokens[rows, : int(lengths[rows].max())])
            features = features.index_copy(0, rows, part.float())
    return features


def contrastive_loss(model: CLIP, pixels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """CLIP's loss, with equal texts of a batch counted as each other's match (UniCL's targets)."""
    with torch.autocast(pixels.device.type, dtype=torch.bfloat16):
        image = model.encode_image(pixels)
        text = encode_mixed(model, tokens)
    image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
    logits = model.logit_scale.exp() * image @ text.T
    same = (tokens[:, None] == tokens[None]).all(-1).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class Batches:
    """Random batches from the prepared arrays: the batch of a step depends on the step alone, so a run can resume."""

    def __init__(self, data: Path, batch: int, seed: int) -> None:
        self.images = np.load(data / "images.npy", mmap_mode="r")
        self.tokens = np.load(data / "tokens.npy", mmap_mode="r")
        self.batch, self.seed = batch, seed

    def __call__(self, step: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels float32 [batch, 3, 96, 96], normalized, and tokens int64 [batch, longest text]."""
        random = np.random.default_rng((self.seed, step))
        per_epoch = len(self.images) // self.batch
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng((self.seed, 1 << 20, epoch)).permutation(len(self.images))
        rows = np.sort(order[position * self.batch : (position + 1) * self.batch])
        kind = random.choice(4, self.batch, p=CAPTION_SHARES)
        column = np.where(kind == 1, 1 + random.integers(0, 5, self.batch), np.array([0, 1, 6, 7])[kind])
        tokens = torch.from_numpy(self.tokens[rows, column].astype(np.int64))
        tokens = tokens[:, : int((tokens != 0).sum(1).max())]
        # Mild jitter; no flips (captions say left and right), no crops (they count objects).
        gain = random.uniform(0.9, 1.1, (self.batch, 1, 1, 1)).astype(np.float32)
        shift = random.integers(-5, 6, 2)
        padded = np.pad(self.images[rows], ((0, 0), (5, 5), (5, 5), (0, 0)), mode="edge")
        cut = padded[:, 5 + shift[0] : 101 + shift[0], 5 + shift[1] : 101 + shift[1]]
        pixels = torch.from_numpy(np.ascontiguousarray(cut.transpose(0, 3, 1, 2))).float()
        scale = torch.tensor(gain) / (255 * torch.tensor(STD).view(1, 3, 1, 1))
        pixels.mul_(scale).sub_((torch.tensor(MEAN) / torch.tensor(STD)).view(1, 3, 1, 1))
        return pixels.to(device), tokens.to(device)


def export(model: CLIP, data: Path, out: Path, log: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Write the open_clip local-dir folder: configuration, fp16 safetensors, tokenizer, training log."""
    out.mkdir(parents=True, exist_ok=True)
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": MODEL, "preprocess_cfg": preprocess}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {name: tensor.half().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, str(out / "open_clip_model.safetensors"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(data / "tokenizer" / name, out / name)
    (out / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    (out / "training.json").write_text(json.dumps(about, indent=2) + "\n")


def average_gradients(model: CLIP) -> None:
    """Replace every gradient by its mean over the processes, in one exchange."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    place = 0
    for gradient in gradients:
        gradient.copy_(flat[place : place + gradient.numel()].view_as(gradient))
        place += gradient.numel()


def train(data: Path, out: Path, minutes: float, steps: int, batch: int = BATCH, seed: int = 0) -> CLIP:
    """Train for `steps` steps, or until `minutes` are over (the cosine then ends early), and export the model."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rank, workers = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if workers > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(seed)
    vision = {**MODEL["vision_cfg"], "patch_dropout": PATCH_DROPOUT}
    text = dict(MODEL["text_cfg"])
    model = CLIP(MODEL["embed_dim"], vision, text).to(device).train()
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
    torch.manual_seed(seed + 1000 * step + rank)  # of the patches that are dropped
    bar = tqdm(total=1.0, desc="training", bar_format="{l_bar}{bar}| {postfix}", disable=rank > 0)
    started = time.monotonic() - seconds
    with attention:
        while True:
            seconds = time.monotonic() - started
            if workers > 1:  # all processes go by the first one's clock
                clock = torch.tensor([seconds])
                dist.broadcast(clock, 0)
                seconds = clock.item()
            done = max(step / steps, seconds / (60 * minutes))
            if done >= 1:
                break
            rate = LEARNING_RATE * min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * done)) / 2
            for group in optimizer.param_groups:
                group["lr"] = rate
            dropout = model.visual.patch_dropout
            if isinstance(dropout, PatchDropout):
                dropout.prob = PATCH_DROPOUT if done < 0.8 else 0.0
            loss = contrastive_loss(model, *batches(step * workers + rank, device))
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
                bar.set_postfix_str(f"step {step} loss {loss.item():.3f} scale {model.logit_scale.exp().item():.1f}")
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="prepared arrays and checkpoints")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=6_000)
    parser.add_argument("--scenes", type=int, default=100_000)
    args = parser.parse_args()
    prepare(args.data, count=args.scenes)
    train(args.data, args.out, args.minutes, args.steps)
