"""Trains the scenes' LLaVA from a tower and random weights, and writes it as a Hugging Face folder.

    python -m scenes.training.llava_images --out DATA/language --count 96000
    python -m scenes.training.llava_images --out DATA/validation --split validation --count 2000
    python -m scenes.training.llava_tower --data DATA/language --out DATA/tower --steps 3000
    python -m scenes.training.llava_data --out DATA/sequences --stage mixed --blocks 14 --images 96000
    python -m scenes.training.train_llava --data DATA --out scenes/models/llava --plan mixed:0-13 --minutes 60

Tower, projector and language model are trained together, with matrix products in bfloat16. A killed run continues from
its last checkpoint. Every `--measure` steps it answers a fixed set of questions about held-out scenes, of single images
and of pairs, and appends the accuracy of each kind to DATA/run/log.jsonl. `llava_card.py` evaluates the folder.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from scenes.training.llava_data import MOST_IMAGES, Sample, Scenes, encode, load_tokenizer
from scenes.training.llava_model import (
    PAD_ID,
    VOCABULARY,
    fresh_model,
    image_features,
    language_hidden,
    save_folder,
    text_logits,
)
from scenes.training.llava_tower import pixels_of
from scenes.training.llava_words import NOTHING, WORDS, number_ids, number_loss, word_ids, word_loss, word_targets
from scenes.world.seeded_random import rng_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlavaForConditionalGeneration

OUT = Path(__file__).parent.parent / "models" / "llava"
BATCH = 48  # sequences
RATE, TOWER_RATE, WARMUP, WEIGHT_DECAY = 2e-3, 3e-4, 100, 0.05
WORD_WEIGHT, NUMBER_WEIGHT = 0.5, 0.2  # of the losses of words that patches show, and of the images' numbers
SHIFT = 3  # pixels by which an image is moved at random
CHECKPOINT_EVERY = 200


class Rows(NamedTuple):
    """Sequences as padded tensors."""

    tokens: torch.Tensor  # int64 [n, length]
    trained: torch.Tensor  # bool [n, length]
    images: npt.NDArray[np.int64]  # scene numbers, in the order of their places in the tokens


def padded(sequences: Sequence[tuple[npt.ArrayLike, npt.ArrayLike, Sequence[int]]]) -> Rows:
    """Rows of (ids, trained, images), padded on the right to a multiple of 8 tokens."""
    length = -(-max(len(np.asarray(ids)) for ids, _, _ in sequences) // 8) * 8
    tokens = np.full((len(sequences), length), PAD_ID, np.int64)
    trained = np.zeros((len(sequences), length), np.bool_)
    for row, (ids, learned, _) in enumerate(sequences):
        count = len(np.asarray(ids))
        tokens[row, :count], trained[row, :count] = ids, learned
    images = np.array([number for _, _, numbers in sequences for number in numbers if number >= 0], np.int64)
    return Rows(torch.from_numpy(tokens), torch.from_numpy(trained), images)


@functools.lru_cache(maxsize=2)
def _block(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ("tokens", "trained", "starts", "images")}


class Batches:
    """Batches of sequences of similar length from prepared blocks, in the plan's order; each depends on its step."""

    def __init__(self, folder: Path, plan: Sequence[tuple[str, int]], batch: int = BATCH, seed: int = 0) -> None:
        self.folder, self.plan, self.batch, self.seed = folder, list(plan), batch, seed
        self.per_block: list[int] = []

    def _path(self, position: int) -> Path:
        stage, block = self.plan[position]
        path = self.folder / f"{stage}_{block:05d}.npz"
        while not path.exists():  # another process is writing it
            print(f"waiting for {path.name}", flush=True)
            time.sleep(2)
        return path

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def _order(self, position: int) -> list[npt.NDArray[np.int64]]:
        """The rows of each batch of a block."""
        starts = _block(self._path(position))["starts"]
        random = np.random.default_rng((self.seed, position))
        rows = random.permutation(len(starts) - 1)
        lengths = np.diff(starts)[rows]
        # Sorted by length within pools of 40 batches, so that little is padding and batches stay random.
        pools = np.arange(len(rows)) // (40 * self.batch)
        rows = rows[np.lexsort((lengths, pools))]
        batches = [rows[first : first + self.batch] for first in range(0, len(rows), self.batch)]
        batches = [batch for batch in batches if len(batch) == self.batch] or batches
        return [batches[i] for i in random.permutation(len(batches))]

    def __call__(self, step: int) -> Rows:
        """The rows of a step; after the last block the plan begins again, in another order."""
        position = 0
        while True:
            if position == len(self.per_block):
                self.per_block.append(len(_block(self._path(position % len(self.plan)))["starts"][:-1]) // self.batch)
            if step < max(1, self.per_block[position]):
                break
            step -= max(1, self.per_block[position])
            position += 1
        block = _block(self._path(position % len(self.plan)))
        starts = block["starts"]
        rows = self._order(position % len(self.plan))[step]
        spans = [slice(starts[row], starts[row + 1]) for row in rows]
        return padded(
            [
                (block["tokens"][span], block["trained"][span], block["images"][row])
                for row, span in zip(rows, spans, strict=True)
            ]
        )


def augmented(images: npt.NDArray[np.uint8], random: np.random.Generator) -> torch.Tensor:
    """Normalized pixels of images moved by up to SHIFT pixels, with small changes of brightness."""
    side = images.shape[1]
    wide = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    moves = random.integers(0, 2 * SHIFT + 1, (len(images), 2))
    moved = np.stack([wide[i, y : y + side, x : x + side] for i, (y, x) in enumerate(moves)])
    gain = random.uniform(0.92, 1.08, (len(images), 1, 1, 1)).astype(np.float32)
    return pixels_of(np.clip(moved * gain, 0, 255).astype(np.uint8))


class Targets:
    """`word_targets` of scenes of the split `language`, calculated when they are first asked for."""

    def __init__(self, covered: npt.NDArray[np.uint8]) -> None:
        self.covered = covered
        self.found = np.full((len(covered), len(WORDS), covered.shape[2]), NOTHING, np.int8)
        self.known = np.zeros(len(covered), np.bool_)

    def __call__(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
        """int8 [n, 4, 16] of scenes by number."""
        new = np.unique(numbers[~self.known[numbers]])
        if len(new):
            self.found[new] = word_targets("language", new.tolist(), self.covered[new])
            self.known[new] = True
        return self.found[numbers]


class Measured(NamedTuple):
    """Questions about held-out scenes, one in each conversation."""

    samples: tuple[Sample, ...]
    rows: tuple[Rows, ...]
    order: tuple[int, ...]  # the samples' positions in the rows


def fixed_questions(tokenizer: Tokenizer, images: int, count: int, split: str = "validation") -> Measured:
    """`count` questions about the scenes 0..`count` of a split with `images` images each."""
    known = Scenes(split, 0, max(count, 2 * MOST_IMAGES))
    rng = rng_of("llava questions", split, images)
    shares = [float(number >= images) for number in range(1, MOST_IMAGES + 1)]
    samples = tuple(known.sample(rng, shares, turns=1)._replace(system="") for _ in range(count))
    encoded = [encode(tokenizer, sample) for sample in samples]
    order = sorted(range(count), key=lambda i: len(encoded[i][0]))
    chunks = [order[first : first + 60] for first in range(0, count, 60)]
    rows = tuple(padded([(*encoded[i], samples[i].images) for i in chunk]) for chunk in chunks)
    return Measured(samples, rows, tuple(order))


@torch.no_grad()
def answers_right(
    model: LlavaForConditionalGeneration, measured: Measured, images: npt.NDArray[np.uint8]
) -> list[tuple[str, bool]]:
    """(kind, whether greedy decoding gives exactly the answer) of every question.

    Greedy decoding gives the answer when every token of it is the most likely one behind those before it, so one
    forward pass tells.
    """
    right: list[bool] = []
    for tokens, trained, numbers in measured.rows:
        before = torch.zeros_like(trained)
        before[:, :-1] = trained[:, 1:]
        features = image_features(model, pixels_of(images[numbers]), torch.bfloat16)
        logits, _ = text_logits(model, tokens, features, before, torch.bfloat16)
        wrong = torch.zeros(trained.shape, dtype=torch.bool)
        wrong[before] = logits.argmax(-1) != tokens[trained]
        right += (~wrong.any(1)).tolist()
    return [(measured.samples[i].kinds[0], value) for i, value in zip(measured.order, right, strict=True)]


def accuracies(found: Sequence[tuple[str, bool]]) -> dict[str, float]:
    """Accuracy by kind, and of all."""
    asked, right = Counter(kind for kind, _ in found), Counter(kind for kind, value in found if value)
    by_kind = {kind: round(right[kind] / asked[kind], 3) for kind in sorted(asked)}
    return {"all": round(sum(right.values()) / len(found), 3), **by_kind}


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
    step, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
    started = time.monotonic() - seconds
    saved = seconds
    while (done := max(step / steps, (time.monotonic() - started) / (60 * minutes))) < 1:
        share = min(1, (step + 1) / WARMUP) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * share
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
            row |= {name: accuracies(answers_right(model, some, held)) for name, some in fixed.items()}
            _log(run, row)
        if step % CHECKPOINT_EVERY == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save({**state, "seconds": seconds}, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
        if seconds - saved > 60 * save:
            saved = seconds
            save_folder(model, tokenizer, run / f"step_{step}")
            _log(run, {"step": step, "saved": f"step_{step}"})
    model.train(False)
    return model


def _log(run: Path, row: dict[str, Any]) -> None:
    with (run / "log.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


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
    parser.add_argument("--plan", default="mixed:0-13", help='blocks in their order (default: "mixed:0-13")')
    parser.add_argument("--minutes", type=float, default=60.0, help="longest training (default: 60)")
    parser.add_argument("--steps", type=int, default=20_000, help="most steps (default: 20,000)")
    parser.add_argument("--measure", type=int, default=200, help="steps between measurements (default: 200)")
    given = parser.parse_args(arguments)
    plan = read_plan(given.plan)
    model = train(given.data, plan, minutes=given.minutes, steps=given.steps, measure=given.measure)
    save_folder(model, load_tokenizer(given.data / "sequences"), given.out)


if __name__ == "__main__":
    main()
