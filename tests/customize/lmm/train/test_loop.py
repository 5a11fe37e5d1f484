"""The learning rate of a run, its checkpoints, and the counts of its samples. Whole runs: see test_tune.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from customize.clip.train.distributed import Worker
from customize.lmm.train.log import read_records
from customize.lmm.train.loop import STEPS_NAME, Loop
from customize.lmm.train.prepare import prepare_run
from tests.customize.lmm.train.conftest import Material
from tests.customize.lmm.train.tiny_run import config


def test_rates_rise_and_fall_along_a_cosine_and_the_projector_has_its_own(material: Material, tmp_path: Path) -> None:
    run = prepare_run(config(tmp_path / "out", material.model, material.text, steps=10, warmup=0.2), Worker())
    assert run is not None
    seen: list[tuple[float, float]] = []
    loop = Loop(run, lambda record, _: seen.append((record.lr, rates()["projector"])))

    def rates() -> dict[str, float]:
        return {str(group["name"]): float(group["lr"]) for group in loop.optimizer.param_groups}

    loop.run()
    assert [lr for lr, _ in seen][:3] == pytest.approx([5e-3, 1e-2, 1e-2])
    assert seen[-1][0] < 1e-3
    assert all(projector == pytest.approx(0.1 * lr) for lr, projector in seen)
    assert json.loads((tmp_path / "out" / STEPS_NAME).read_text()) == {"steps": 10}


def test_a_loop_goes_on_from_the_last_checkpoint_with_its_counts(material: Material, tmp_path: Path) -> None:
    asked = config(tmp_path / "out", material.model, *material.sources, steps=6, save_every=2)
    run = prepare_run(asked, Worker())
    assert run is not None
    Loop(run).run()
    (tmp_path / "out" / "checkpoints" / "00000006.safetensors").unlink()
    again = prepare_run(asked, Worker())
    assert again is not None
    loop = Loop(again)
    assert loop.step == 4
    assert sum(loop.samples_by_source.values()) in (13, 16)
    loop.run()
    assert loop.samples_by_source == {"single.json": 10, "pairs.json": 6, "text.json": 5}
    assert loop.unreadable == dict.fromkeys(run.sources, 0)
    assert [record.step for record in read_records(str(tmp_path / "out" / "log.jsonl"))] == [1, 2, 3, 4, 5, 6]
