"""One side of benchmarks/customize_peers.py, in a process of its own, since the peer's package is called open_clip too.

    python benchmarks/customize_peers_step.py ours|peer BATCH WEIGHTS [PEER]

Reads a line (`steps N` or `prefix N`) from its input, takes N training steps, and prints seconds and the last loss as
one JSON line. `peer` writes its random weights to WEIGHTS, `ours` starts from them. Not run by hand.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

GRADIENT_STEP = {"lr": 5e-4, "betas": (0.9, 0.98), "eps": 1e-6}  # microsoft/react's README: --lr=5e-4; CLIP's betas
WEIGHT_DECAY = 0.1  # --wd=0.1
MODEL = "ViT-B-32"


def batch_of(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The same pixels and tokens on both sides."""
    random = torch.Generator().manual_seed(7)
    pixels = torch.randn(count, 3, 224, 224, generator=random)
    tokens = torch.randint(1, 49_000, (count, 77), generator=random)
    tokens[:, 0], tokens[:, 20], tokens[:, 21:] = 49_406, 49_407, 0  # CLIP's marks; a caption of 19 tokens
    return pixels, tokens


def peer_step(batch: int, weights: str, peer: str) -> Callable[[str, int], float]:
    """REACT's own `train_one_epoch` over an epoch of N batches in memory."""
    sys.path.insert(0, str(Path(peer) / "react_customization" / "src"))
    import open_clip
    from safetensors.torch import save_file
    from training.train import train_one_epoch  # type: ignore[import-not-found]

    torch.manual_seed(0)
    model = open_clip.create_model(f"react_{MODEL}", output_dict=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, weights)
    model.lock_image_tower_unlock_gated()
    model.lock_text_tower()
    optimizer = torch.optim.AdamW(parameter_groups(model), **GRADIENT_STEP)
    loss = open_clip.ClipLoss()
    args = SimpleNamespace(
        device="cpu", precision="fp32", distill=False, accum_freq=1, skip_scheduler=True, horovod=False,
        grad_clip_norm=None, rank=0, world_size=1, batch_size=batch, log_every_n_steps=1 << 30, wandb=False,
    )  # fmt: skip
    pixels, tokens = batch_of(batch)
    last: list[float] = []

    def kept_loss(*values: Any, **named: Any) -> Any:
        out = loss(*values, **named)
        last.append(out["contrastive_loss"].item())
        return out

    class Loader:
        num_batches = num_samples = 0

        def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for _ in range(self.num_batches):
                yield pixels, tokens

    loader = Loader()
    data = {"train": SimpleNamespace(dataloader=loader, set_epoch=lambda epoch: None)}

    def steps(kind: str, count: int) -> float:
        loader.num_batches, loader.num_samples = count, count * batch
        train_one_epoch(model, data, kept_loss, 0, optimizer, None, None, None, args)
        return last[-1]

    return steps


def our_step(batch: int, weights: str) -> Callable[[str, int], float]:
    """Our step: texts embedded once beforehand, as a store has them; with `prefix` the frozen blocks' output too."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import open_clip
    from safetensors.torch import load_file

    from customize.objective import Targets, contrastive_loss
    from customize.strategies import apply_strategy, clamp_logit_scale, set_training

    model = open_clip.create_model(MODEL)
    applied = apply_strategy(model, "locked-text-gated-image")
    model.load_state_dict(load_file(weights))
    set_training(model, applied.strategy)
    optimizer = torch.optim.AdamW(parameter_groups(model), **GRADIENT_STEP, fused=True)
    pixels, tokens = batch_of(batch)
    visual: Any = model.visual
    blocks = visual.transformer.resblocks
    with torch.no_grad():
        text = model.encode_text(tokens, normalize=True)
        prefix = visual._embeds(pixels)
        for block in blocks[: applied.frozen_image_blocks]:
            prefix = block(prefix)

    def image_features(kind: str) -> torch.Tensor:
        if kind == "steps":
            return model.encode_image(pixels, normalize=True)
        hidden = prefix
        for block in blocks[applied.frozen_image_blocks :]:
            hidden = block(hidden)
        return torch.nn.functional.normalize(visual._pool(hidden)[0] @ visual.proj, dim=-1)

    def steps(kind: str, count: int) -> float:
        for _ in range(count):
            optimizer.zero_grad()
            contrast = contrastive_loss(image_features(kind), text, model.logit_scale.exp(), Targets())
            contrast.loss.backward()
            optimizer.step()
            clamp_logit_scale(model)
        return contrast.loss.item()

    return steps


def parameter_groups(model: Any) -> list[dict[str, Any]]:
    """The released trainer's: gains and biases do not decay."""
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    plain = [p for name, p in named if p.ndim < 2 or "ln" in name or "bias" in name]
    decay = [p for name, p in named if not (p.ndim < 2 or "ln" in name or "bias" in name)]
    return [{"params": plain, "weight_decay": 0.0}, {"params": decay, "weight_decay": WEIGHT_DECAY}]


def main() -> None:
    """Answer lines until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what packages print goes to the log
    logging.disable(logging.CRITICAL)
    side, batch, weights = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    steps = peer_step(batch, weights, sys.argv[4]) if side == "peer" else our_step(batch, weights)
    print(json.dumps({"threads": torch.get_num_threads(), "torch": torch.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        kind, count = line.split()
        started = time.perf_counter()
        loss = steps(kind, int(count))
        print(json.dumps({"seconds": time.perf_counter() - started, "loss": loss}), file=answers, flush=True)


if __name__ == "__main__":
    main()
