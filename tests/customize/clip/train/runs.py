"""Short runs of the trainer on the small store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from customize.clip.train.config import CustomizeConfig
from customize.clip.train.log import StepRecord, read_log
from customize.clip.train.train import TrainSummary, train

STEPS = 6
BATCH = 8


def config(out: Path, selection: str | None = None, **choices: Any) -> CustomizeConfig:
    """Six steps of eight pairs on the CPU, a learning rate that shows, nothing drawn at random in the images."""
    asked: dict[str, Any] = {
        "steps": STEPS,
        "batch_size": BATCH,
        "lr": 1e-3,
        "warmup": 1,
        "augment": "none",
        "device": "cpu",
    }
    return CustomizeConfig(out=str(out), selection=selection, **{**asked, **choices})


def run(out: Path, selection: str | None = None, **choices: Any) -> tuple[TrainSummary, list[StepRecord]]:
    """Train; what came out, and the log's steps."""
    summary = train(config(out, selection, **choices))
    return summary, read_log(str(out / "log.jsonl"))


def losses(records: list[StepRecord]) -> list[float]:
    return [record.loss for record in records]
