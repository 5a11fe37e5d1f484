"""Brings each step's inputs ahead of the step: in processes where images are decoded and drawn on, else in threads.

What comes out depends on the step alone, never on who loaded it. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from customize.clip.train.image_inputs import ImageInputs, Pixels
from index.read_ahead import read_ahead

__all__ = ["Feed", "StepInputs"]

Rows = npt.NDArray[np.int64]
Loaded = list[tuple[int, torch.Tensor]]

AHEAD = 2  # steps that wait ready, or that each loading process prepares (torch's own default)
THREADS = 4


@dataclass(frozen=True)
class StepInputs:
    """One worker's share of a step, on the CPU."""

    step: int  # from 0
    rows: Rows  # int64 [n], as they were used
    images: torch.Tensor  # [n, ...]
    tokens: torch.Tensor | None  # int64 [n, context], where the text tower runs


@dataclass(frozen=True)
class Feed:
    """How a run's inputs are loaded.

    Attributes:
        rows_of: step -> this worker's rows, int64 [n].
        tokenize: rows -> tokens int64 [n, context]; None where texts are locked.
        loaders: processes; 0 loads in threads of this one.
        pin: put tensors where a GPU reads them fast.
    """

    images: ImageInputs
    rows_of: Callable[[int], Rows]
    steps_per_epoch: int
    tokenize: Callable[[Rows], torch.Tensor] | None = None
    loaders: int = 0
    pin: bool = False

    @contextmanager
    def steps(self, first: int, last: int) -> Iterator[Iterator[StepInputs]]:
        """Open the stream of the steps first .. last - 1."""
        steps = range(first, last)
        if self.loaders and self.images.decodes:
            yield self._from_processes(steps)
        elif isinstance(self.images, Pixels) and self.images.draws:
            # Its random generators are the process's own: nothing else may draw from them while it does.
            yield (self._stack(step, [self._load(item) for item in self._items(step)]) for step in steps)
        else:
            with ThreadPoolExecutor(THREADS, thread_name_prefix="feed") as threads:
                loads = (self._stack(step, list(threads.map(self._load, self._items(step)))) for step in steps)
                with closing(read_ahead(loads, AHEAD)) as ready:
                    yield ready

    def _items(self, step: int) -> list[tuple[int, int]]:
        return [(int(row), step // self.steps_per_epoch) for row in self.rows_of(step)]

    def _load(self, item: tuple[int, int]) -> tuple[int, torch.Tensor]:
        return self.images.load(*item)

    def _stack(self, step: int, loaded: Loaded) -> StepInputs:
        rows = np.array([row for row, _ in loaded], dtype=np.int64)
        tokens = None if self.tokenize is None else self.tokenize(rows)
        return StepInputs(step, rows, torch.stack([tensor for _, tensor in loaded]), tokens)

    def _from_processes(self, steps: range) -> Iterator[StepInputs]:
        loader = torch.utils.data.DataLoader(
            _Samples(self),
            batch_sampler=_StepItems(self, steps),
            num_workers=self.loaders,
            prefetch_factor=AHEAD,
            collate_fn=self._collate,
            pin_memory=self.pin,
        )
        for step, (rows, images, tokens) in zip(steps, loader, strict=True):
            yield StepInputs(step, rows.numpy(), images, tokens if self.tokenize is not None else None)

    def _collate(self, loaded: Loaded) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        inputs = self._stack(0, loaded)
        tokens = inputs.tokens if inputs.tokens is not None else torch.empty(0)
        return torch.from_numpy(inputs.rows), inputs.images, tokens


class _Samples(torch.utils.data.Dataset[tuple[int, torch.Tensor]]):
    """A dataset whose index is (row, epoch)."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def __getitem__(self, index: tuple[int, int]) -> tuple[int, torch.Tensor]:
        return self._feed._load(index)


class _StepItems(torch.utils.data.Sampler[list[tuple[int, int]]]):
    """A batch a step."""

    def __init__(self, feed: Feed, steps: range) -> None:
        self._feed, self._steps = feed, steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return map(self._feed._items, self._steps)
