"""Progress of a training run on stderr: its steps, the work before them, and warnings."""

from __future__ import annotations

import sys
from typing import Generic, Protocol, TextIO, TypeVar

from index.errors import BadInput
from jobs.interrupt import stop_if_interrupted
from jobs.progress import Progress

__all__ = ["StepsProgress", "TrainingProgress", "check_training_executor"]

EXECUTORS = ("local", "ray")


class LoggedStep(Protocol):
    """A line of a run's log."""

    @property
    def step(self) -> int:
        """Number of the step, from 1."""


R = TypeVar("R", bound=LoggedStep)


class StepsProgress(Progress, Generic[R]):
    """Progress through the steps of a run. record: of the latest step; a subclass describes it in `_rate`."""

    record: R | None = None

    def see(self, record: R, total: int) -> None:
        """Show `record`, the latest of `total` steps."""
        if self.record is None:
            self.earlier = record.step - 1
        self.record = record
        self.reach(record.step, total)


class TrainingProgress(Generic[R]):
    """Shows a training run on stderr; its methods are the run's callbacks.

    Each method but `warning` raises KeyboardInterrupt after a Ctrl-C.

    Args:
        label: of the steps, such as "tune".
        steps: how steps are shown.
        unit: what `progress` counts, such as "pairs".
        stream: stderr by default.
    """

    def __init__(
        self, label: str, steps: type[StepsProgress[R]], *, unit: str = "", stream: TextIO | None = None
    ) -> None:
        self._label, self._kind, self._unit = label, steps, unit
        self._stream = stream or sys.stderr
        self._steps: StepsProgress[R] | None = None
        self._before: Progress | None = None

    def step(self, record: R, total: int) -> None:
        """A step of `total` is done."""
        if self._steps is None:
            self._steps = self._kind(self._label, total, unit="steps", stream=self._stream)
            self._steps.__enter__()
        self._steps.see(record, total)
        if record.step == total:
            self._steps.__exit__(None, None, None)
        stop_if_interrupted()

    def progress(self, label: str, done: int, total: int) -> None:
        """`done` of `total` are done of the work `label`, which comes before the steps."""
        if self._before is None or self._before.label != label:
            self._before = Progress(label, total, unit=self._unit, stream=self._stream)
            self._before.__enter__()
        self._before.reach(done, total)
        stop_if_interrupted()

    def warning(self, line: str) -> None:
        """One line of warning."""
        self.say(f"warning: {line}")

    def say(self, line: str) -> None:
        """One line."""
        print(line, file=self._stream, flush=True)


def check_training_executor(executor: str, workers: int | None) -> None:
    """Raises BadInput for an unknown executor, and for several workers without Ray."""
    if executor not in EXECUTORS:
        raise BadInput(f"--executor {executor}: training runs on {' or '.join(EXECUTORS)}")
    if executor == "local" and workers not in (None, 1):
        raise BadInput(f"--workers {workers}: several workers train together on Ray; add --executor ray")
