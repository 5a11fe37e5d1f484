"""Loads each step's inputs ahead of the step: in processes where images are decoded and augmented, else in threads.

The inputs of a step follow from the step alone, whichever process or thread loads them. Processes may be started by
`spawn` (macOS) or `forkserver` (Python 3.14): only image inputs and tokenizers are sent to them, which can be pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from customize.clip.train.image_inputs import ImageInputs, Pixels
from customize.clip.train.pairs import Pairs
from index.errors import ClipmineError
from index.read_ahead import read_ahead

__all__ = ["CaptionTokens", "StepInputs", "StepLoader"]

Rows = npt.NDArray[np.int64]
Loaded = list[tuple[int, torch.Tensor]]

AHEAD = 2  # steps that are loaded ahead, by each process where there are several (torch's own default)
THREADS = 4


@dataclass(frozen=True)
class StepInputs:
    """One worker's share of a step, on the CPU.

    Attributes:
        step: number of the step, from 0.
        rows: int64 [n], the pairs; another pair's row where an image could not be decoded.
        images: [n, ...], see `customize.clip.train.image_inputs`.
        tokens: int64 [n, context]; None where the text tower is locked.
    """

    step: int
    rows: Rows
    images: torch.Tensor
    tokens: torch.Tensor | None


@dataclass(frozen=True)
class StepLoader:
    """Loads the steps of a run.

    Attributes:
        rows_of: step -> this worker's rows, int64 [n].
        tokenize: rows -> tokens int64 [n, context]; None where the text tower is locked. It must be picklable where
            there are processes.
        processes: how many processes decode images; 0: threads of this process do.
        start: how processes are started, such as "spawn"; None: the platform's way.
        pin: put tensors into pinned memory, from which a GPU reads faster.
    """

    images: ImageInputs
    rows_of: Callable[[int], Rows]
    steps_per_epoch: int
    tokenize: Callable[[Rows], torch.Tensor] | None = None
    processes: int = 0
    pin: bool = False
    start: str | None = None

    @contextmanager
    def steps(self, first: int, last: int) -> Iterator[Iterator[StepInputs]]:
        """Open the stream of the steps first .. last - 1."""
        steps = range(first, last)
        if self.processes and self.images.decodes:
            yield self._from_processes(steps)
        elif isinstance(self.images, Pixels) and self.images.random:
            # Augmentation draws from the generators of the whole process, so no thread may draw at the same time.
            yield (self._stack(step, [self.images.load(*item) for item in self._items(step)]) for step in steps)
        else:
            with ThreadPoolExecutor(THREADS, thread_name_prefix="load") as threads:
                load = self.images.load
                loads = (
                    self._stack(step, list(threads.map(lambda item: load(*item), self._items(step)))) for step in steps
                )
                with closing(read_ahead(loads, AHEAD)) as ready:
                    yield ready

    def _items(self, step: int) -> list[tuple[int, int]]:
        return [(int(row), step // self.steps_per_epoch) for row in self.rows_of(step)]

    def _stack(self, step: int, loaded: Loaded) -> StepInputs:
        rows, images, tokens = _Stack(self.tokenize)(loaded)
        return StepInputs(step, rows.numpy(), images, tokens if self.tokenize is not None else None)

    def _from_processes(self, steps: range) -> Iterator[StepInputs]:
        loader = torch.utils.data.DataLoader(
            _Samples(self.images),
            batch_sampler=_StepItems(self, steps),
            num_workers=self.processes,
            prefetch_factor=AHEAD,
            collate_fn=_Collate(self.tokenize),
            pin_memory=self.pin,
            multiprocessing_context=self.start,
        )
        for step, loaded in zip(steps, loader, strict=True):
            if isinstance(loaded, _Failure):
                raise loaded.error()
            rows, images, tokens = loaded
            yield StepInputs(step, rows.numpy(), images, tokens if self.tokenize is not None else None)


@dataclass(frozen=True)
class CaptionTokens:
    """rows -> the tokens of the captions of `rows`, int64 [n, context]."""

    pairs: Pairs
    tokenizer: Any

    def __call__(self, rows: Rows) -> torch.Tensor:
        tokens: torch.Tensor = self.tokenizer(self.pairs.captions(rows))
        return tokens


@dataclass(frozen=True)
class _Failure:
    """An error of ours in a process. It is sent as data, since torch would put a traceback into the message."""

    kind: type[ClipmineError]
    message: str

    @classmethod
    def of(cls, error: ClipmineError) -> _Failure:
        return cls(type(error), str(error))

    def error(self) -> ClipmineError:
        """The error itself; some kinds are made from other arguments than their message."""
        error = self.kind.__new__(self.kind)
        error.args = (self.message,)
        return error


@dataclass(frozen=True)
class _Collate:
    """What a process makes of the loaded images of a step: as `_Stack`, or the first failure among them."""

    tokenize: Callable[[Rows], torch.Tensor] | None

    def __call__(self, loaded: list[Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | _Failure:
        failed = next((one for one in loaded if isinstance(one, _Failure)), None)
        if failed is not None:
            return failed
        try:
            return _Stack(self.tokenize)(loaded)
        except ClipmineError as error:
            return _Failure.of(error)


@dataclass(frozen=True)
class _Stack:
    """Loaded images to (rows int64 [n], images [n, ...], tokens, or an empty tensor where there is no tokenizer)."""

    tokenize: Callable[[Rows], torch.Tensor] | None

    def __call__(self, loaded: Loaded) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = np.array([row for row, _ in loaded], dtype=np.int64)
        tokens = torch.empty(0) if self.tokenize is None else self.tokenize(rows)
        return torch.from_numpy(rows), torch.stack([tensor for _, tensor in loaded]), tokens


class _Samples(torch.utils.data.Dataset[tuple[int, torch.Tensor] | _Failure]):
    """A dataset that is indexed by (row, epoch)."""

    def __init__(self, images: ImageInputs) -> None:
        self._images = images

    def __getitem__(self, index: tuple[int, int]) -> tuple[int, torch.Tensor] | _Failure:
        try:
            return self._images.load(*index)
        except ClipmineError as error:
            return _Failure.of(error)


class _StepItems(torch.utils.data.Sampler[list[tuple[int, int]]]):
    """The indices of each step's batch."""

    def __init__(self, loader: StepLoader, steps: range) -> None:
        self._loader, self._steps = loader, steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return map(self._loader._items, self._steps)
