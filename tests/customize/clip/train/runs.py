"""Short training runs on the small store, and pairs with broken images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from customize.clip.train.config import CustomizeConfig
from customize.clip.train.log import StepRecord, read_log
from customize.clip.train.pairs import Pairs, gather_pairs
from customize.clip.train.train import TrainSummary, train
from tests.index.corpora import picture, write_tar

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


def broken_pairs(folder: Path, broken: set[int], count: int) -> Pairs:
    """`count` pairs in one tar; those numbered in `broken` have images that cannot be decoded."""
    members: list[tuple[str, bytes]] = []
    for number in range(count):
        image = b"\xff\xd8\xff broken" if number in broken else picture((10 * number, 10, 200))
        members += [(f"{number:02d}.png", image), (f"{number:02d}.txt", f"color {number}".encode())]
    tar = write_tar(folder / "0.tar", members)
    return gather_pairs(str(folder / "pairs.arrow"), selection=None, store=None, tars=str(tar))
