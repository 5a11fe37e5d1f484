"""The summary of a tuning run, whose numbers add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SourceSummary", "TuneSummary"]


@dataclass(frozen=True)
class SourceSummary:
    """What became of a source's samples: `samples` = `usable` + all of `left_out`.

    Attributes:
        left_out: reason -> number of samples that cannot be trained on.
        taken: samples of the run's steps; a sample of a second epoch counts twice.
        unreadable: of `taken`, those left out of their step since an image could not be read.
    """

    samples: int
    usable: int
    left_out: Mapping[str, int]
    taken: int
    unreadable: int


@dataclass(frozen=True, repr=False)
class TuneSummary:
    """What a run did.

    Attributes:
        sources: by name. taken, unreadable, trained: samples over all steps; taken = unreadable + trained.
        named: the first samples that were left out, as lines.
        trainable: trained weights by part of the model.
        first_loss, last_loss: means over the first and the last tenth of the steps.
        loss_by_source: means over the last tenth.
        images: where the features of images came from.
        seconds: duration of the last call that trained, with preparation and export.
        samples_per_second, tokens_per_second: of the steps alone, since the last resume.
        exported: what was written -> its folder.
    """

    out: str
    stage: str
    train: str
    sources: Mapping[str, SourceSummary]
    taken: int
    unreadable: int
    trained: int
    named: tuple[str, ...]
    trainable: Mapping[str, int]
    steps: int
    batch_size: int
    workers: int
    first_loss: float | None
    last_loss: float | None
    loss_by_source: Mapping[str, float]
    images: str
    seconds: float
    samples_per_second: float
    tokens_per_second: float
    exported: Mapping[str, str]

    def __repr__(self) -> str:
        loss = "" if self.last_loss is None else f", loss {self.first_loss:.4f} -> {self.last_loss:.4f}"
        return f"TuneSummary({self.out!r}, {self.stage}, {self.trained:,} samples, {self.steps:,} steps{loss})"
