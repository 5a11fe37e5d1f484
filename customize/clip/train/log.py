"""The log of a run: one JSON line a step, and TensorBoard event files where a TensorBoard writer is installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from index.files import exists, local_path, open_file, write_atomic

__all__ = ["StepRecord", "TrainLog", "read_log"]


@dataclass(frozen=True)
class StepRecord:
    """The figures of one step.

    Attributes:
        step: number of the step, from 1.
        accuracy: share of the batch's images whose nearest text is a positive.
        lr: learning rate.
        logit_scale: factor of the cosines (exp of the parameter).
        gates: mean |tanh(alpha)| of the gated blocks, by tower.
        alike: mean share of the batch's texts that are positives of an image.
    """

    step: int
    loss: float
    accuracy: float
    lr: float
    logit_scale: float
    gates: Mapping[str, float] = field(default_factory=dict)
    alike: float = 0.0


class TrainLog:
    """Appends steps to `path` (JSON lines) and to TensorBoard event files in the folder `board`.

    resumed: number of the last step that counts; lines of later steps, which a killed run left behind, are dropped.
    """

    def __init__(self, path: str, board: str, resumed: int) -> None:
        kept = [record for record in read_log(path) if record.step <= resumed] if exists(path) else []
        write_atomic(path, "".join(_line(record) for record in kept))
        self._stream = open_file(path, "a")
        self._board = _board_writer(str(local_path(board)), resumed)

    def write(self, record: StepRecord) -> None:
        """Append one step."""
        self._stream.write(_line(record))
        self._stream.flush()
        if self._board is not None:
            for name in ("loss", "accuracy", "alike", "lr", "logit_scale"):
                self._board.add_scalar(f"train/{name}", getattr(record, name), record.step)
            for name, value in record.gates.items():
                self._board.add_scalar(f"gates/{name}", value, record.step)

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        if self._board is not None:
            self._board.close()


def read_log(path: str) -> list[StepRecord]:
    """The steps of a log, in order; a last line that was cut off by a kill is skipped."""
    records = []
    with open_file(path, "r") as stream:
        for line in stream:
            if line.endswith("\n"):
                records.append(StepRecord(**json.loads(line)))
    return records


def _line(record: StepRecord) -> str:
    return json.dumps(asdict(record)) + "\n"


def _board_writer(folder: str, resumed: int) -> Any:
    """TensorBoard's own writer, or that of tensorboardX, which Ray installs; None without either."""
    for name in ("torch.utils.tensorboard", "tensorboardX"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return module.SummaryWriter(folder, purge_step=resumed + 1)
    return None
