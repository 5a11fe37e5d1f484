"""The log keeps one line a step, drops lines that a killed run left behind, and writes TensorBoard files."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.clip.train.log import StepRecord, TrainLog, read_log
from index.errors import BadInput

STEPS = [StepRecord(step, 2.0 / step, 0.5, 1e-3, 14.0, {"image": 0.1 * step}, 0.25) for step in (1, 2, 3)]


def write(folder: Path, records: list[StepRecord], resumed: int = 0) -> None:
    log = TrainLog(str(folder / "log.jsonl"), str(folder / "board"), resumed)
    for record in records:
        log.write(record)
    log.close()


def test_steps_come_back_as_they_were_written(tmp_path: Path) -> None:
    write(tmp_path, STEPS)
    assert read_log(str(tmp_path / "log.jsonl")) == STEPS


def test_a_resumed_run_drops_the_steps_after_its_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, STEPS)
    again = StepRecord(2, 9.0, 0.5, 1e-3, 14.0)
    write(tmp_path, [again], resumed=1)
    assert read_log(str(tmp_path / "log.jsonl")) == [STEPS[0], again]


def test_a_line_that_was_cut_off_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, STEPS[:1])
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"step": 2, "lo')
    assert read_log(str(path)) == STEPS[:1]


def test_a_log_of_before_alike_texts_were_measured_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 2.0, "accuracy": 0.5, "lr": 0.1, "logit_scale": 14.0, "gates": {}}\n')
    assert read_log(str(path)) == [StepRecord(1, 2.0, 0.5, 0.1, 14.0)]


def test_tensorboard_files_are_written(tmp_path: Path) -> None:
    """A writer is always installed with the development packages: ray[train] needs tensorboardX."""
    write(tmp_path, STEPS)
    (events,) = (tmp_path / "board").glob("events*")
    data = events.read_bytes()
    for tag in (b"train/loss", b"train/alike", b"gates/image"):
        assert tag in data


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[1]", b'{"loss": 1}', b"no JSON"])
def test_a_line_that_is_no_step_is_named(tmp_path: Path, line: bytes) -> None:
    write(tmp_path, STEPS)
    path = tmp_path / "log.jsonl"
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(BadInput, match=r"log\.jsonl, line 4: is no step of a log; delete"):
        write(tmp_path, STEPS, resumed=1)
