"""What a run says of itself: one JSON line a step, TensorBoard where it is installed, and a warning when it collapses.

Knows numbers only.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from index.files import exists, local_path, open_file, write_atomic

__all__ = ["CollapseWatch", "StepRecord", "TrainLog", "read_log"]

# Of the best running accuracy so far: below it, a run is called collapsed. A noisy run that learns was never seen
# to lose half of it.
COLLAPSED = 0.5
MEMORY = 0.95  # weight of the past in the running accuracy: about the last 20 steps
SETTLED = 20  # steps before the running mean means anything
# Of a batch's texts: free texts flow together once they count as one, since nothing holds them apart then.
MOST_ALIKE = 0.5


@dataclass(frozen=True)
class StepRecord:
    """One step: `accuracy` is the share of the batch's images whose nearest text is one of their own, `alike` the mean
    share of its texts that count as an image's own."""

    step: int  # from 1
    loss: float
    accuracy: float
    lr: float
    logit_scale: float  # the factor, exp of the parameter
    gates: Mapping[str, float] = field(default_factory=dict)  # mean |tanh(alpha)| by tower
    alike: float = 0.0


class CollapseWatch:
    """Warns, once, when the contrastive accuracy falls to half of what it was or to chance, or most texts are one."""

    def __init__(self, batch: int) -> None:
        self.chance = 1 / batch
        self.running = 0.0
        self.alike = 0.0
        self.best = 0.0
        self.steps = 0
        self.warned = False

    def see(self, record: StepRecord) -> str | None:
        """The warning, the first time there is reason for one."""
        self.steps += 1
        self.running = MEMORY * self.running + (1 - MEMORY) * record.accuracy
        self.alike = MEMORY * self.alike + (1 - MEMORY) * record.alike
        weight = 1 - MEMORY**self.steps  # so that it is the mean of what was seen, not of zeros before it
        running, alike = self.running / weight, self.alike / weight
        if self.steps < SETTLED:
            return None
        self.best = max(self.best, running)
        if self.warned:
            return None
        if alike > MOST_ALIKE:
            self.warned = True
            return (
                f"step {record.step}: {alike:.0%} of a batch's texts count as one text, so little is left to learn; "
                "count equal texts only (--gamma 1) or none (--plain-clip), or lock the text tower if it is free"
            )
        if running >= COLLAPSED * self.best and running > 2 * self.chance:
            return None
        self.warned = True
        return (
            f"step {record.step}: the contrastive accuracy is {running:.3f} (best {self.best:.3f}, chance "
            f"{self.chance:.3f}): the model may be collapsing; lower --lr, or lock the text tower"
        )

    def state(self) -> dict[str, float]:
        return {
            "running": self.running,
            "alike": self.alike,
            "best": self.best,
            "steps": self.steps,
            "warned": float(self.warned),
        }

    def restore(self, state: Mapping[str, float]) -> None:
        self.running, self.alike, self.best = state["running"], state.get("alike", 0.0), state["best"]
        self.steps, self.warned = int(state["steps"]), bool(state["warned"])


class TrainLog:
    """Appends to `path` (JSON lines), and to TensorBoard event files in `board` where a writer is installed."""

    def __init__(self, path: str, board: str, resumed: int) -> None:
        """`resumed`: the steps that stand; lines of later ones, which a killed run left behind, are dropped."""
        kept = [line for line in read_log(path) if line.step <= resumed] if exists(path) else []
        write_atomic(path, "".join(_line(record) for record in kept))
        self._stream = open_file(path, "a")
        self._board = _board_writer(str(local_path(board)), resumed)

    def write(self, record: StepRecord) -> None:
        self._stream.write(_line(record))
        self._stream.flush()
        if self._board is not None:
            for name in ("loss", "accuracy", "alike", "lr", "logit_scale"):
                self._board.add_scalar(f"train/{name}", getattr(record, name), record.step)
            for name, value in record.gates.items():
                self._board.add_scalar(f"gates/{name}", value, record.step)

    def close(self) -> None:
        self._stream.close()
        if self._board is not None:
            self._board.close()


def read_log(path: str) -> list[StepRecord]:
    """The steps of a log, in order; a line that a kill cut short is left out."""
    records = []
    with open_file(path, "r") as stream:
        for line in stream:
            if line.endswith("\n"):
                records.append(StepRecord(**json.loads(line)))
    return records


def _line(record: StepRecord) -> str:
    return json.dumps(asdict(record)) + "\n"


def _board_writer(folder: str, resumed: int) -> Any:
    """TensorBoard's own writer or tensorboardX's, which Ray brings; None without either."""
    for name in ("torch.utils.tensorboard", "tensorboardX"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return module.SummaryWriter(folder, purge_step=resumed + 1)
    return None
