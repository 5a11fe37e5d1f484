"""Progress of a training run: one line for its work before, one at its last step, and what training runs on."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pytest

from index.errors import BadInput
from jobs.training_progress import StepsProgress, TrainingProgress, check_training_executor


@dataclass(frozen=True)
class Step:
    step: int


def shown(stream: io.StringIO) -> list[str]:
    """The lines without their times."""
    return [line.partition(", took")[0] for line in stream.getvalue().splitlines()]


def test_each_kind_of_work_is_shown_by_its_label_then_the_steps() -> None:
    stream = io.StringIO()
    progress = TrainingProgress("tune", StepsProgress[Step], unit="images", stream=stream)
    for label in ("samples", "features"):
        progress.progress(label, 1, 2)
        progress.progress(label, 2, 2)
    for step in (1, 2):
        progress.step(Step(step), 2)
    work = [line for label in ("samples", "features") for line in (f"{label}: 2 images", f"{label}: 2/2 images")]
    assert shown(stream) == [*work, "tune: 2 steps", "tune: 2/2 steps"]


def test_a_continued_run_estimates_from_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("jobs.progress.time.monotonic", lambda: clock[0])
    progress = TrainingProgress("tune", StepsProgress[Step], stream=io.StringIO())
    for step in range(501, 512):
        progress.step(Step(step), 1_000)
        clock[0] += 3
    assert progress._steps is not None
    clock[0] -= 3  # the moment of the last step
    assert progress._steps.line() == "tune: 511/1,000 steps, 24:27 left"


def test_a_warning_is_one_line() -> None:
    stream = io.StringIO()
    TrainingProgress("tune", StepsProgress[Step], stream=stream).warning("a source is small")
    assert shown(stream) == ["warning: a source is small"]


def test_training_runs_here_or_on_ray_and_several_workers_only_on_ray() -> None:
    check_training_executor("local", None)
    check_training_executor("local", 1)
    check_training_executor("ray", 2)
    with pytest.raises(BadInput, match="--executor spark: training runs on local or ray"):
        check_training_executor("spark", None)
    with pytest.raises(BadInput, match="--workers 2: several workers train together on Ray"):
        check_training_executor("local", 2)
