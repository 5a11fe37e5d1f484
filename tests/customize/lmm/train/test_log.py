"""The log of a run goes on after a kill, and figures reach the user's tracker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from customize.lmm.train.config import Tracker, TuneConfig
from customize.lmm.train.log import TuneLog, TuneRecord, read_records
from index.errors import BadInput, MissingDependency


def record(step: int) -> TuneRecord:
    return TuneRecord(
        step, 1.0 / step, 1e-3, 0.5, 4, 40, 100, {"pairs": 1.5, "photos": 0.5}, {"pairs": 20, "photos": 20}, 2.0 * step
    )


def config(folder: Path, tracker: str | Tracker | None = None) -> TuneConfig:
    return TuneConfig(out=str(folder), data=("pairs",), model="llava", tracker=tracker)


def test_lines_that_a_killed_run_left_behind_are_dropped(tmp_path: Path) -> None:
    log = TuneLog(config(tmp_path), 0)
    for step in (1, 2, 3):
        log.write(record(step))
    log.close()
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"step": 4, "lo')
    log = TuneLog(config(tmp_path), 2)
    log.write(record(3))
    log.close()
    assert read_records(str(tmp_path / "log.jsonl")) == [record(1), record(2), record(3)]


def test_a_users_function_gets_loss_sources_and_speed(tmp_path: Path) -> None:
    seen: list[tuple[int, dict[str, float]]] = []

    def tracker(step: int, figures: Mapping[str, float]) -> None:
        seen.append((step, dict(figures)))

    log = TuneLog(config(tmp_path, tracker), 0)
    log.write(record(1))
    log.write(record(2))
    log.close()
    step, figures = seen[1]
    assert (step, figures["loss"], figures["loss/photos"]) == (2, 0.5, 0.5)
    assert (figures["samples_per_second"], figures["tokens_per_second"]) == (2.0, 50.0)


def test_tensorboard_writes_event_files(tmp_path: Path) -> None:
    log = TuneLog(config(tmp_path, "tensorboard"), 0)
    log.write(record(1))
    log.close()
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_tracker_that_is_not_installed_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_writer(*_: Any) -> None:
        return None

    monkeypatch.setattr("customize.lmm.train.log.board_writer", no_writer)
    monkeypatch.setattr("importlib.util.find_spec", no_writer)
    for tracker in ("tensorboard", "wandb"):
        with pytest.raises(MissingDependency, match=f"--tracker {tracker} needs {tracker}"):
            TuneLog(config(tmp_path, tracker), 0)


def test_the_log_of_another_kind_of_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "accuracy": 0.5}\n')
    with pytest.raises(BadInput, match=r"log\.jsonl: is the log of another kind of run"):
        read_records(str(tmp_path / "log.jsonl"))


def test_a_tracker_that_cannot_begin_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")

    def without_a_key(**_: Any) -> None:
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login` to log in.")

    monkeypatch.setattr(wandb, "init", without_a_key)
    with pytest.raises(BadInput, match=r"--tracker wandb: cannot begin a run \(No API key configured\.\); mend"):
        TuneLog(TuneConfig(out=str(tmp_path), data=("x",), model="m", tracker="wandb"), 0)
