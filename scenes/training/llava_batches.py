"""Batches for training the LLaVA: padded rows of prepared blocks, moved images, words that their patches show."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from scenes.training.llava_model import PAD_ID
from scenes.training.llava_tower import pixels_of
from scenes.training.llava_words import NOTHING, WORDS, word_targets

SHIFT = 3  # pixels by which an image is moved at random


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

    def __init__(self, folder: Path, plan: Sequence[tuple[str, int]], batch: int, seed: int = 0) -> None:
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
