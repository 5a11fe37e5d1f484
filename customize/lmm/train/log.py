"""The log of a tuning run: one JSON line a step, and the user's tracker of experiments."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from json import dumps
from typing import Any

from customize.clip.train.log import board_writer, continue_log, read_lines
from customize.lmm.train.config import Tracker, TuneConfig
from index.errors import BadInput, MissingDependency
from index.files import join, local_path

__all__ = ["TuneLog", "TuneRecord", "read_records"]


@dataclass(frozen=True)
class TuneRecord:
    """The figures of one step, over all workers.

    Attributes:
        step: number of the step, from 1.
        loss: mean negative log-likelihood of the step's trained tokens, in nats, weighted as `TuneConfig.weigh` says.
        lr: learning rate of the language model, or of the projector where it trains alone.
        grad_norm: norm of the gradient before clipping.
        samples, trained_tokens, tokens: of the step; `tokens` counts images and prompts too, without padding.
        loss_by_source: the same over the trained tokens of each source that the step has.
        tokens_by_source: trained tokens of each source.
        seconds: since the run's steps began, in this process.
    """

    step: int
    loss: float
    lr: float
    grad_norm: float
    samples: int
    trained_tokens: int
    tokens: int
    loss_by_source: Mapping[str, float] = field(default_factory=dict)
    tokens_by_source: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class TuneLog:
    """Appends steps to `OUT/log.jsonl` and to the tracker that the configuration names.

    resumed: number of the last step that counts; lines of later steps, which a killed run left behind, are dropped.
    """

    def __init__(self, config: TuneConfig, resumed: int) -> None:
        self._track = _tracker(config, resumed)
        self._stream = continue_log(join(config.out, "log.jsonl"), resumed)
        self._last: TuneRecord | None = None

    def write(self, record: TuneRecord) -> None:
        """Append one step."""
        self._stream.write(dumps(asdict(record)) + "\n")
        self._stream.flush()
        if self._track is not None:
            self._track(record.step, self._figures(record))
        self._last = record

    def close(self) -> None:
        """Close the files; a user's function has nothing to close."""
        self._stream.close()
        close = getattr(self._track, "close", None)
        if isinstance(self._track, _Board | _Wandb) and close is not None:
            close()

    def _figures(self, record: TuneRecord) -> dict[str, float]:
        figures = {"loss": record.loss, "lr": record.lr, "grad_norm": record.grad_norm}
        figures |= {f"loss/{source}": value for source, value in record.loss_by_source.items()}
        before = self._last.seconds if self._last is not None else 0.0
        if record.seconds > before:
            figures["samples_per_second"] = record.samples / (record.seconds - before)
            figures["tokens_per_second"] = record.tokens / (record.seconds - before)
        return figures


def read_records(path: str) -> list[TuneRecord]:
    """The steps of a log, in order; a last line that was cut off by a kill is skipped.

    Raises BadInput for the log of something else.
    """
    try:
        return [TuneRecord(**values) for values in read_lines(path)]
    except TypeError as error:
        raise BadInput(f"{path}: is the log of another kind of run; train into another --out") from error


class _Board:
    """TensorBoard event files."""

    def __init__(self, folder: str, resumed: int) -> None:
        self._writer: Any = board_writer(folder, resumed)
        if self._writer is None:
            raise MissingDependency("tensorboard", "--tracker tensorboard", extra="tensorboard")

    def __call__(self, step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of Weights & Biases, in the mode and project that its own variables and files set."""

    def __init__(self, folder: str) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise MissingDependency("wandb", "--tracker wandb")
        import wandb

        try:
            self._run: Any = wandb.init(dir=folder, resume="allow", name=local_path(folder).name)
        except (wandb.Error, OSError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise BadInput(f"--tracker wandb: cannot begin a run ({why[:200]}); mend that, or leave it out") from error

    def __call__(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        self._run.finish()


def _tracker(config: TuneConfig, resumed: int) -> Tracker | None:
    if config.tracker == "tensorboard":
        return _Board(str(local_path(join(config.out, "tensorboard"))), resumed)
    if config.tracker == "wandb":
        return _Wandb(str(local_path(config.out)))
    return config.tracker if callable(config.tracker) else None
