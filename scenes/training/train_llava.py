"""Trains the scenes' LLaVA from a tower and random weights, and writes it as a Hugging Face folder.

    python -m scenes.training.llava_images --out DATA/language --count 96000
    python -m scenes.training.llava_images --out DATA/validation --split validation --count 2000
    python -m scenes.training.llava_tower --data DATA/language --out DATA/tower --steps 3000
    python -m scenes.training.llava_data --out DATA/sequences --stage single --blocks 2 --images 96000
    python -m scenes.training.llava_data --out DATA/sequences --stage pairs --first 2 --blocks 5 --images 96000
    python -m scenes.training.train_llava --data DATA --out scenes/models/llava --plan single:0-1,pairs:2-6

Tower, projector and language model are trained together, with matrix products in bfloat16. A killed run continues from
its last checkpoint. Every `--measure` steps it answers a fixed set of questions about held-out scenes, of single images
and of pairs, and appends the accuracy of each kind to DATA/run/log.jsonl. `llava_card.py` evaluates the folder.
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
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from scenes.training.llava_accuracy import accuracies, answers_right, fixed_questions
from scenes.training.llava_batches import Batches, Targets, augmented
from scenes.training.llava_data import load_tokenizer
from scenes.training.llava_model import (
    VOCABULARY,
    fresh_model,
    image_features,
    language_hidden,
    save_folder,
    text_logits,
)
from scenes.training.llava_words import number_ids, number_loss, word_ids, word_loss

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

OUT = Path(__file__).parent.parent / "models" / "llava"
BATCH = 48  # sequences
RATE, TOWER_RATE, WARMUP, WEIGHT_DECAY = 2e-3, 3e-4, 100, 0.05
WORD_WEIGHT, NUMBER_WEIGHT = 0.5, 0.2  # of the losses of words that patches show, and of the images' numbers
CHECKPOINT_EVERY = 200


def parameter_groups(model: LlavaForConditionalGeneration) -> list[dict[str, Any]]:
    """Parameters by peak learning rate and weight decay."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        rate = TOWER_RATE if "vision_tower" in name else RATE
        decay = WEIGHT_DECAY if parameter.ndim >= 2 and "embed" not in name else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": parameters, "peak": rate, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def train(
    data: Path,
    plan: Sequence[tuple[str, int]],
    *,
    minutes: float,
    steps: int,
    batch: int = BATCH,
    measure: int = 200,
    questions: int = 400,
    save: float = 10.0,
    compiled: bool = True,
    seed: int = 0,
) -> LlavaForConditionalGeneration:
    """Train for `steps` steps or `minutes`, whichever ends first; the model is in evaluation mode.

    data: has language/ and validation/ (llava_images), tower/ and sequences/; gets run/ with checkpoint and log,
        and every `save` minutes a folder run/step_N that plain transformers loads.
    """
    run = data / "run"
    run.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(data / "sequences")
    images = np.load(data / "language" / "images.npy")  # in memory: batches read them in random order
    held = np.load(data / "validation" / "images.npy", mmap_mode="r")
    model = fresh_model(load_file(str(data / "tower" / "tower.safetensors")), VOCABULARY, seed)
    model.train()
    model.model.vision_tower.set_attn_implementation("eager")
    optimizer = torch.optim.AdamW(parameter_groups(model), betas=(0.9, 0.98), eps=1e-6, fused=True)
    ids, numbers_of = word_ids(tokenizer), number_ids(tokenizer)
    targets = Targets(np.load(data / "language" / "covered.npy", mmap_mode="r"))
    hidden_of = torch.compile(language_hidden, dynamic=True) if compiled else language_hidden
    batches = Batches(data / "sequences", plan, batch, seed)
    fixed = {name: fixed_questions(tokenizer, count, questions) for name, count in (("single", 1), ("pair", 2))}
    checkpoint = run / "checkpoint.pt"
    step, seconds = _restored(checkpoint, model, optimizer)
    started = time.monotonic() - seconds
    saved = seconds
    while (done := max(step / steps, (time.monotonic() - started) / (60 * minutes))) < 1:
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * _rate_share(step, done)
        tokens, trained, numbers = batches(step)
        pixels = augmented(images[numbers], np.random.default_rng((seed, step)))
        before = torch.zeros_like(trained)
        before[:, :-1] = trained[:, 1:]
        features = image_features(model, pixels, torch.bfloat16)
        logits, early = text_logits(model, tokens, features, before, torch.bfloat16, hidden_of)
        words, named = word_loss(model, features, torch.from_numpy(targets(numbers)), ids)
        answers = F.cross_entropy(logits, tokens[trained])
        numbered = number_loss(model, early, tokens, numbers_of)
        loss = answers + WORD_WEIGHT * words + NUMBER_WEIGHT * numbered
        if not torch.isfinite(loss):
            raise SystemExit(f"step {step}: the loss is {loss.item()}; the last checkpoint is {checkpoint}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        seconds = time.monotonic() - started
        if step % 20 == 0:
            _log(
                run,
                {
                    "step": step,
                    "seconds": round(seconds, 1),
                    "loss": round(answers.item(), 4),
                    "words": named,
                    "numbers": round(numbered.item(), 3),
                },
            )
        if step % measure == 0:
            row: dict[str, Any] = {"step": step, "seconds": round(seconds, 1)}
            row |= {name: accuracies(answers_right(model, some, held, torch.bfloat16)) for name, some in fixed.items()}
            _log(run, row)
        if step % CHECKPOINT_EVERY == 0:
            _save(checkpoint, model, optimizer, step, seconds)
        if seconds - saved > 60 * save:
            saved = seconds
            save_folder(model, tokenizer, run / f"step_{step}")
            _log(run, {"step": step, "saved": f"step_{step}"})
    model.train(False)
    return model


def _rate_share(step: int, done: float) -> float:
    """Share of the peak learning rates: up over WARMUP steps, then along a cosine to 2% where `done` is 1."""
    return min(1, (step + 1) / WARMUP) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def _restored(
    checkpoint: Path, model: LlavaForConditionalGeneration, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    """Load the checkpoint, if there is one; returns the steps and seconds that it had trained."""
    if not checkpoint.exists():
        return 0, 0.0
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]


def _save(
    checkpoint: Path, model: LlavaForConditionalGeneration, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds}
    torch.save(state, checkpoint.with_suffix(".new"))
    checkpoint.with_suffix(".new").replace(checkpoint)


def _log(run: Path, row: dict[str, Any]) -> None:
    with (run / "log.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def write_about(data: Path, out: Path, plan: Sequence[tuple[str, int]], parameters: int, note: str = "") -> None:
    """Write OUT/training.json and OUT/training_log.jsonl (every tenth row of losses, all measurements)."""
    rows = [json.loads(line) for line in (data / "run" / "log.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "saved" not in row and ("single" in row or row["step"] % 200 == 100)]
    (out / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tower = json.loads((data / "tower" / "tower_log.jsonl").read_text().splitlines()[-1])
    last = json.loads((data / "run" / "log.jsonl").read_text().splitlines()[-1])
    blocks, used, left = [], 0, last["step"] * BATCH
    for stage, block in plan:
        if left > 0:
            with np.load(data / "sequences" / f"{stage}_{block:05d}.npz", allow_pickle=False) as file:
                blocks.append(np.unique(file["images"][file["images"] >= 0]))
                used, left = used + min(left, len(file["images"])), left - len(file["images"])
    about = {
        "parameters": parameters,
        "steps": last["step"],
        "batch": BATCH,
        "minutes": round(last["seconds"] / 60, 1),
        "hardware": "one CPU core" if torch.get_num_threads() == 1 else f"{torch.get_num_threads()} CPU cores",
        "scenes": len(np.unique(np.concatenate(blocks))),
        "conversations": used,
        "tower_steps": tower["step"],
        "tower_minutes": round(tower["seconds"] / 60, 1),
        "note": note,
    }
    (out / "training.json").write_text(json.dumps(about, indent=2) + "\n")


def read_plan(text: str) -> list[tuple[str, int]]:
    """The blocks of a plan such as "mixed:0-3,pairs:0-9"."""
    plan = []
    for part in text.split(","):
        stage, _, numbers = part.partition(":")
        first, _, last = numbers.partition("-")
        plan += [(stage, block) for block in range(int(first), int(last or first) + 1)]
    return plan


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with these arguments, or with the process's."""
    parser = argparse.ArgumentParser(description="Train the scenes' LLaVA and write it as a Hugging Face folder.")
    parser.add_argument("--data", type=Path, required=True, help="folder of images, tower and sequences")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the model")
    parser.add_argument("--plan", default="single:0-1,pairs:2-6", help="blocks in their order")
    parser.add_argument("--minutes", type=float, default=45.0, help="longest training (default: 45)")
    parser.add_argument("--steps", type=int, default=20_000, help="most steps (default: 20,000)")
    parser.add_argument("--measure", type=int, default=200, help="steps between measurements (default: 200)")
    given = parser.parse_args(arguments)
    plan = read_plan(given.plan)
    model = train(given.data, plan, minutes=given.minutes, steps=given.steps, measure=given.measure)
    save_folder(model, load_tokenizer(given.data / "sequences"), given.out)
    write_about(given.data, given.out, plan, sum(parameter.numel() for parameter in model.parameters()))


if __name__ == "__main__":
    main()
