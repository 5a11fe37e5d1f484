"""One training step: the loss of a global batch, computed in parts by each worker, and its gradient.

The loss is the weighted mean of the negative log-likelihoods of all trained tokens of the global batch, so it and its
gradient are the same whatever the parts, the packing and the workers. A mean over the means of parts, which trainers
that accumulate may take, depends on which samples meet in a part.

Unless told otherwise every token has the same weight. Then an answer of one letter has a hundredth of the weight of an
answer of a hundred tokens; `answer_weights` gives short answers more.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from customize.clip.train.distributed import Worker
from customize.lmm.model.forward import TokenLosses, trained_places
from customize.lmm.train.config import Weigh
from customize.lmm.train.distributed import largest, sum_values

__all__ = ["Measured", "PartInputs", "TuneStep", "answer_weights"]

# What the weights of an answer's tokens are: its number of trained tokens to this power.
_POWERS: dict[Weigh, float] = {"tokens": 0.0, "square": -0.5, "answers": -1.0}


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
        loss: weighted mean over its trained tokens; not finite where any part's is not.
        sums, weights: of the weighted negative log-likelihoods and of the weights, by the number of the source.
        counts: trained tokens, by the number of the source.
        samples: how many, by the number of the source. tokens: without padding.
        wrong: sample ids of this worker's parts whose loss is not finite.
    """

    loss: float
    sums: tuple[float, ...]
    weights: tuple[float, ...]
    counts: tuple[int, ...]
    samples: tuple[int, ...]
    tokens: int
    wrong: tuple[str, ...] = ()


class TuneStep:
    """Called with this worker's parts of a step, it adds their gradients and returns the figures of the global batch.

    Attributes:
        losses: the model. sources: number of sources. bf16: compute in bf16.
        sharded: the model is shared out among the workers, whose passes then go in step, and which average gradients.
        weigh: the weights of tokens, see `answer_weights`.
    """

    def __init__(
        self,
        losses: TokenLosses,
        sources: int,
        worker: Worker,
        device: str,
        *,
        bf16: bool,
        sharded: bool = False,
        weigh: Weigh = "tokens",
    ) -> None:
        self.losses, self.sources, self.worker, self.weigh = losses, sources, worker, weigh
        self._device, self._bf16, self._sharded = device, bf16, sharded

    def __call__(self, parts: Sequence[PartInputs]) -> Measured:
        passes = self._in_step(parts)
        weights = [answer_weights(part.labels, part.positions, self.weigh).to(self._device) for part in passes]
        own = torch.stack([each.double().sum() for each in weights]).sum() if weights else torch.zeros(())
        whole = float(sum_values(own.double().reshape(1).to(self._device), self.worker.world_size)[0]) or 1.0
        scale = (self.worker.world_size if self._sharded else 1) / whole
        # By source the sums, the weights, the counts and the samples; in the last row the tokens.
        figures = torch.zeros(5, self.sources, dtype=torch.float64, device=self._device)
        finite: list[torch.Tensor] = []
        for part, weight in zip(passes, weights, strict=True):
            nll, sources = self._forward(part)
            nll = nll * weight
            (nll.sum() * scale).backward()  # type: ignore[no-untyped-call]
            found = nll.detach().double()
            finite.append(torch.isfinite(found).all())
            figures[0].index_add_(0, sources, found)
            figures[1].index_add_(0, sources, weight.double())
            figures[2].index_add_(0, sources, torch.ones_like(found))
            figures[3] += torch.bincount(part.sample_sources(), minlength=self.sources).to(self._device)
            figures[4, 0] += part.tokens
        fine = torch.stack(finite).tolist() if finite else []
        wrong = [name for part, each in zip(parts, fine, strict=False) if not each for name in part.sample_ids]
        sums, shares, counts, samples, tokens = sum_values(figures, self.worker.world_size).tolist()
        return Measured(
            loss=sum(sums) / whole,
            sums=tuple(sums),
            weights=tuple(shares),
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


def answer_weights(labels: torch.Tensor, positions: torch.Tensor | None, weigh: Weigh) -> torch.Tensor:
    """Weights float32 [trained tokens] of the tokens' losses, in the order of `trained_places(labels, positions)`.

    Args:
        labels, positions: [rows, n], see `PartInputs`. Trained tokens in a row are one answer with its stop.
        weigh: "tokens": each token 1, as LLaVA. "answers": each answer 1, its tokens share it. "square": each answer
            the square root of its length, between the two (as InternVL 2.5, arXiv:2412.05271).
    """
    places = trained_places(labels, positions)
    begins = places.clone()
    begins[:, 1:] &= ~places[:, :-1]
    answer = begins.flatten().cumsum(0)[places.flatten()] - 1
    lengths = torch.bincount(answer) if len(answer) else answer
    return lengths[answer].float() ** _POWERS[weigh]


def _empty_part() -> PartInputs:
    """A part of two tokens without loss."""
    nothing = torch.zeros(1, 2, dtype=torch.int64)
    return PartInputs(nothing, nothing - 100, None, nothing, torch.empty(0, 0, 0), (), 0)
