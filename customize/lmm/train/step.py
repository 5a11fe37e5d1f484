"""One training step: the loss of a global batch, computed in parts by each worker, and its gradient.

The loss is the sum of the negative log-likelihoods of all trained tokens of the global batch, divided by their number.
So every trained token counts the same, and the gradient is the same whatever the parts, the packing and the workers.
A mean over the means of parts, which trainers that accumulate may take, weighs the tokens of short answers more.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from customize.clip.train.distributed import Worker
from customize.lmm.model.forward import TokenLosses, trained_places
from customize.lmm.train.distributed import largest, sum_values

__all__ = ["Measured", "PartInputs", "TuneStep"]


@dataclass(frozen=True)
class PartInputs:
    """What a worker computes at once, on the CPU. Rows are padded on the right, or hold several samples each.

    Attributes:
        ids, labels: int64 [rows, n]; labels of tokens without loss are -100.
        positions: int64 [rows, n], from 0 in each sample, where rows hold several samples; else None.
        sources: int64 [rows, n], the number of each token's source.
        features: [images, tokens an image, width], outputs of the vision tower, in the order of the image tokens.
        sample_ids: of its samples.
        tokens: without padding.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    positions: torch.Tensor | None
    sources: torch.Tensor
    features: torch.Tensor
    sample_ids: tuple[str, ...]
    tokens: int

    def sample_sources(self) -> torch.Tensor:
        """int64 [samples]: the number of each sample's source."""
        if not self.sample_ids:
            return torch.empty(0, dtype=torch.int64)
        return self.sources[:, 0] if self.positions is None else self.sources[self.positions == 0]


@dataclass(frozen=True)
class Measured:
    """The figures of a global batch.

    Attributes:
        loss: mean over its trained tokens; not finite where any part's is not.
        sums, counts: of the negative log-likelihood and of trained tokens, by the number of the source.
        samples: how many, by the number of the source. tokens: without padding.
        wrong: sample ids of this worker's parts whose loss is not finite.
    """

    loss: float
    sums: tuple[float, ...]
    counts: tuple[int, ...]
    samples: tuple[int, ...]
    tokens: int
    wrong: tuple[str, ...] = ()


class TuneStep:
    """Called with this worker's parts of a step, it adds their gradients and returns the figures of the global batch.

    Attributes:
        losses: the model. sources: number of sources. bf16: compute in bf16.
        sharded: the model is shared out among the workers, whose passes then go in step, and which average gradients.
    """

    def __init__(
        self, losses: TokenLosses, sources: int, worker: Worker, device: str, *, bf16: bool, sharded: bool = False
    ) -> None:
        self.losses, self.sources, self.worker = losses, sources, worker
        self._device, self._bf16, self._sharded = device, bf16, sharded

    def __call__(self, parts: Sequence[PartInputs]) -> Measured:
        own = sum(int(trained_places(part.labels, part.positions).sum()) for part in parts)
        trained = int(sum_values(torch.tensor([own], device=self._device), self.worker.world_size)[0])
        scale = (self.worker.world_size if self._sharded else 1) / max(1, trained)
        # By source the sums, the counts and the samples; in the last row the tokens.
        figures = torch.zeros(4, self.sources, dtype=torch.float64, device=self._device)
        finite: list[torch.Tensor] = []
        for part in self._in_step(parts):
            nll, sources = self._forward(part)
            (nll.sum() * scale).backward()  # type: ignore[no-untyped-call]
            found = nll.detach().double()
            finite.append(torch.isfinite(found).all())
            figures[0].index_add_(0, sources, found)
            figures[1].index_add_(0, sources, torch.ones_like(found))
            figures[2] += torch.bincount(part.sample_sources(), minlength=self.sources).to(self._device)
            figures[3, 0] += part.tokens
        fine = torch.stack(finite).tolist() if finite else []
        wrong = [name for part, each in zip(parts, fine, strict=False) if not each for name in part.sample_ids]
        sums, counts, samples, tokens = sum_values(figures, self.worker.world_size).tolist()
        return Measured(
            loss=sum(sums) / max(1, trained),
            sums=tuple(sums),
            counts=tuple(map(int, counts)),
            samples=tuple(map(int, samples)),
            tokens=int(tokens[0]),
            wrong=tuple(wrong),
        )

    def _forward(self, part: PartInputs) -> tuple[torch.Tensor, torch.Tensor]:
        """The negative log-likelihood of each trained token of a part, and the number of its source."""
        device = self._device
        ids, labels = part.ids.to(device, non_blocking=True), part.labels.to(device, non_blocking=True)
        positions = None if part.positions is None else part.positions.to(device, non_blocking=True)
        features = part.features.to(device, non_blocking=True)
        with self._arithmetic():
            nll = self.losses(ids, features, labels, None, positions)
        places = trained_places(labels, positions)
        return nll, part.sources.to(device, non_blocking=True)[:, 1:][places]

    def _in_step(self, parts: Sequence[PartInputs]) -> Sequence[PartInputs]:
        """The parts, and for a sharded model empty ones until all workers have as many."""
        if not self._sharded:
            return parts
        missing = largest(len(parts), self.worker.world_size, self._device) - len(parts)
        return [*parts, *[_empty_part()] * missing]

    def _arithmetic(self) -> AbstractContextManager[Any]:
        return torch.autocast(torch.device(self._device).type, torch.bfloat16) if self._bf16 else nullcontext()


def _empty_part() -> PartInputs:
    """A part of two tokens without loss."""
    nothing = torch.zeros(1, 2, dtype=torch.int64)
    return PartInputs(nothing, nothing - 100, None, nothing, torch.empty(0, 0, 0), (), 0)
