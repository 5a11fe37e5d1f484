"""One trainer of `benchmarks.customize_peers`, in its own process since the peer's package is called open_clip too.

Started by the benchmark, not by hand:

    python -m benchmarks.customize_peers.step ours WORK BATCH
    python -m benchmarks.customize_peers.step peer WORK BATCH PEER

Reads lines `KIND N` from standard input, takes N training steps for each, and answers with their seconds and the last
loss as one JSON line. `ours` writes the inputs of a step and its weights to WORK/step.safetensors, and `peer` starts
from them. KIND of `peer` is steps. KIND of `ours` is steps (pixels in memory), prefix (cached activations in memory) or
tars (pixels that the trainer's own loader reads from tars, with the released augmentation).
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

MODEL = "ViT-B-32"
GRADIENT_STEP = {"lr": 5e-4, "betas": (0.9, 0.98), "eps": 1e-6}  # microsoft/react's README: --lr=5e-4; CLIP's betas
WEIGHT_DECAY = 0.1  # --wd=0.1

Steps = Callable[[int], float]


def peer_steps(work: Path, batch: int, peer: str) -> dict[str, Steps]:
    """REACT's own `train_one_epoch` over an epoch of N batches in memory."""
    sys.path.insert(0, str(Path(peer) / "react_customization" / "src"))
    import open_clip
    from safetensors.torch import load_file
    from training.train import train_one_epoch  # type: ignore[import-not-found]

    model: Any = open_clip.create_model(f"react_{MODEL}", output_dict=True)
    inputs = load_file(work / "step.safetensors")
    pixels, tokens = inputs.pop("inputs.pixels"), inputs.pop("inputs.tokens")
    model.load_state_dict(inputs)
    model.lock_image_tower_unlock_gated()
    model.lock_text_tower()
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    plain = [p for name, p in named if p.ndim < 2 or "ln" in name or "bias" in name]
    decay = [p for name, p in named if not (p.ndim < 2 or "ln" in name or "bias" in name)]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decay, "weight_decay": WEIGHT_DECAY}]
    optimizer = torch.optim.AdamW(groups, **GRADIENT_STEP)  # type: ignore[arg-type]
    loss = open_clip.ClipLoss()
    args = SimpleNamespace(
        device="cpu", precision="fp32", distill=False, accum_freq=1, skip_scheduler=True, horovod=False,
        grad_clip_norm=None, rank=0, world_size=1, batch_size=batch, log_every_n_steps=1 << 30, wandb=False,
    )  # fmt: skip
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

    def steps(count: int) -> float:
        loader.num_batches, loader.num_samples = count, count * batch
        train_one_epoch(model, data, kept_loss, 0, optimizer, None, None, None, args)
        return last[-1]

    return {"steps": steps}


def our_steps(work: Path, batch: int) -> dict[str, Steps]:
    """The trainer's own loop, twice: with the released augmentation, and from cached activations."""
    from safetensors.torch import save_file

    from customize.clip.train.config import CustomizeConfig
    from customize.clip.train.distributed import Worker
    from customize.clip.train.loader import StepInputs
    from customize.clip.train.loop import Loop
    from customize.clip.train.prepare import prepare_run
    from customize.clip.train.step import TrainStep
    from index.encoder.model_spec import ModelSpec

    loops = {}
    for augment in ("released", "none"):
        config = CustomizeConfig(
            out=str(work / augment),
            tars=str(work / "tars"),
            model=ModelSpec(name=MODEL, random_seed=0),
            steps=1_000_000,
            warmup=1,
            batch_size=batch,
            gamma=None,  # the peer's ClipLoss
            augment=augment,
            cache_prefix=augment == "none",
            device="cpu",
        )
        run = prepare_run(config, Worker())
        assert run is not None
        loops[augment] = Loop(run), TrainStep(run)

    def in_memory(loop: Loop, step: TrainStep) -> tuple[Steps, StepInputs]:
        with loop.loader().steps(0, 1) as inputs:
            kept = next(iter(inputs))

        def steps(count: int) -> float:
            return [loop.take(step, kept).loss for _ in range(count)][-1]

        return steps, kept

    drawn, prefix = (in_memory(*loops[augment]) for augment in ("released", "none"))
    loop, step = loops["released"]
    run = loop.prepared
    tokens = run.loaded.tokenizer(run.pairs.captions(drawn[1].rows))
    state = {name: tensor.contiguous() for name, tensor in run.loaded.model.state_dict().items()}
    save_file({**state, "inputs.pixels": drawn[1].images, "inputs.tokens": tokens}, work / "step.safetensors")

    stream = loop.loader().steps(0, 1_000_000)
    opened: list[Iterator[StepInputs]] = []

    def tars(count: int) -> float:
        if not opened:  # stays open, so that the loader reads ahead as in a training
            opened.append(iter(stream.__enter__()))
        return [loop.take(step, next(opened[0])).loss for _ in range(count)][-1]

    return {"steps": drawn[0], "prefix": prefix[0], "tars": tars}


def main() -> None:
    """Answer lines until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # standard output carries the answers; what packages print goes to standard error
    logging.disable(logging.CRITICAL)
    side, work, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    kinds = peer_steps(work, batch, sys.argv[4]) if side == "peer" else our_steps(work, batch)
    print(json.dumps({"threads": torch.get_num_threads(), "torch": torch.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        kind, count = line.split()
        started = time.perf_counter()
        loss = kinds[kind](int(count))
        print(json.dumps({"seconds": time.perf_counter() - started, "loss": loss}), file=answers, flush=True)
    os._exit(0)  # ends the loader's processes too, without waiting for the batches that they read ahead


if __name__ == "__main__":
    main()
