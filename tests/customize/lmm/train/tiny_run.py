"""A tiny LLaVA in a folder, files of conversations about drawn images, and short runs on them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from customize.lmm.train.config import TuneConfig
from customize.lmm.train.log import TuneRecord, read_records
from customize.lmm.train.tune import TuneSummary, tune

STEPS = 6
BATCH = 4


def write_records(folder: Path, name: str, count: int, *, images: int = 1, seed: int = 0) -> str:
    """LLaVA's JSON with `count` conversations of different lengths about `images` images each; the file's path."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for number in range(count):
        names = [f"{name}{number}_{place}.png" for place in range(images)]
        for each in names:
            (folder / "images" / each).write_bytes(picture(rng))
        answer = " ".join(rng.choice(["red", "blue", "left", "right", "dog", "bus"], int(rng.integers(1, 9))))
        record: dict[str, Any] = {
            "id": f"{name}-{number}",
            "conversations": [
                {"from": "human", "value": "<image>\n" * images + "What?"},
                {"from": "gpt", "value": answer},
            ],
        }
        records.append(record | ({"image": names if images > 1 else names[0]} if images else {}))
    path = folder / f"{name}.json"
    path.write_text(json.dumps(records))
    return str(path)


def picture(rng: np.random.Generator) -> bytes:
    """A PNG of 28 x 28 pixels."""
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (28, 28, 3), dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def config(out: Path, model: Path, *data: str, **choices: Any) -> TuneConfig:
    """Six steps of four samples on the CPU, LoRA of rank 4 without dropout, a learning rate that shows."""
    asked: dict[str, Any] = {
        "stage": "cad",
        "steps": STEPS,
        "batch_size": BATCH,
        "lr": 1e-2,
        "projector_lr": 1e-3,
        "lora_rank": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "template": "vicuna_v1_no_system",
        "device": "cpu",
    }
    return TuneConfig(out=str(out), model=str(model), data=data, **{**asked, **choices})


def run(out: Path, model: Path, *data: str, **choices: Any) -> tuple[TuneSummary, list[TuneRecord]]:
    """Tune; what came out, and the log's steps."""
    summary = tune(config(out, model, *data, **choices))
    return summary, read_records(str(out / "log.jsonl"))


def losses(records: list[TuneRecord]) -> list[float]:
    return [record.loss for record in records]
