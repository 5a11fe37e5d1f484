"""The log of a run: one JSON line a step, and TensorBoard event files where a TensorBoard writer is installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from index.errors import BadInput
from index.files import exists, local_path, open_file, write_atomic

__all__ = ["StepRecord", "TrainLog", "board_writer", "continue_log", "read_lines", "read_log"]


@dataclass(frozen=True)
class StepRecord:
    """The figures of one step.

    Attributes:
        step: number of the step, from 1.
        accuracy: share of the batch's images whose nearest text is a positive.
        lr: learning rate of what the strategy is about: the gated blocks, or the towers that it trains.
        logit_scale: factor of the cosines (exp of the parameter).
        gates: mean |tanh(alpha)| of the gated blocks, by tower.
        alike: mean share of the batch's texts that are positives of an image.
        rates: learning rate by group of parameters, see `customize.clip.train.config.CustomizeConfig.rates`.
    """

    step: int
    loss: float
    accuracy: float
    lr: float
    logit_scale: float
    gates: Mapping[str, float] = field(default_factory=dict)
    alike: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)


class TrainLog:
    """Appends steps to `path` (JSON lines) and to TensorBoard event files in the folder `board`.

    resumed: number of the last step that counts; lines of later steps, which a killed run left behind, are dropped.
    """

    def __init__(self, path: str, board: str, resumed: int) -> None:
        self._stream = continue_log(path, resumed)
        self._board = board_writer(str(local_path(board)), resumed)

    def write(self, record: StepRecord) -> None:
        """Append one step."""
        self._stream.write(_line(record))
        self._stream.flush()
        if self._board is not None:
            for name in ("loss", "accuracy", "alike", "lr", "logit_scale"):
                self._board.add_scalar(f"train/{name}", getattr(record, name), record.step)
            for name, value in record.gates.items():
                self._board.add_scalar(f"gates/{name}", value, record.step)
            for name, value in record.rates.items():
                self._board.add_scalar(f"rates/{name}", value, record.step)

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        if self._board is not None:
            self._board.close()


def read_log(path: str) -> list[StepRecord]:
    """The steps of a log, in order; a last line that was cut off by a kill is skipped."""
    return [StepRecord(**values) for values in read_lines(path)]


def read_lines(path: str) -> list[dict[str, Any]]:
    """The JSON objects of a log, in order; a last line that was cut off by a kill is skipped.

    Raises BadInput for a line that is no step.
    """
    found = []
    with open_file(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.endswith(b"\n"):
                break
            try:
                values = json.loads(line)
            except ValueError:
                values = None
            if not isinstance(values, dict) or not isinstance(values.get("step"), int):
                raise BadInput(
                    f"{path}, line {number}: is no step of a log; delete the line, or train into another --out"
                )
            found.append(values)
    return found


def continue_log(path: str, resumed: int) -> IO[str]:
    """Open a log to append to. Lines after step `resumed`, which a killed run left behind, are dropped."""
    kept = [values for values in read_lines(path) if values["step"] <= resumed] if exists(path) else []
    write_atomic(path, "".join(json.dumps(values) + "\n" for values in kept))
    stream: IO[str] = open_file(path, "a")
    return stream


def _line(record: StepRecord) -> str:
    return json.dumps(asdict(record)) + "\n"


def board_writer(folder: str, resumed: int) -> Any:
    """TensorBoard's own writer, or that of tensorboardX, which Ray installs; None without either."""
    for name in ("torch.utils.tensorboard", "tensorboardX"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return module.SummaryWriter(folder, purge_step=resumed + 1)
    return None
