"""Training of the LLaVA: plans, rates, a killed run that continues, and what is written about a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from scenes.training.llava_data import tokenizer_texts, write_block
from scenes.training.llava_images import prepare_images
from scenes.training.llava_model import fresh_model, train_tokenizer
from scenes.training.llava_tower import train_tower
from scenes.training.train_llava import (
    parameter_groups,
    read_plan,
    train,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train_llava")
    prepare_images(out / "language", "language", 24, workers=1)
    prepare_images(out / "validation", "validation", 8, workers=1)
    train_tower(out / "language", out / "tower", steps=1)
    (out / "sequences").mkdir()
    train_tokenizer(tokenizer_texts(40)).save(str(out / "sequences" / "tokenizer.json"))
    for block in range(2):
        write_block(out / "sequences", "mixed", block, images=24, scenes=12, sequences=12)
    return out


def test_a_plan_names_blocks_in_their_order() -> None:
    assert read_plan("mixed:0,pairs:2-4") == [("mixed", 0), ("pairs", 2), ("pairs", 3), ("pairs", 4)]


def test_the_tower_learns_at_its_own_rate_and_biases_do_not_decay() -> None:
    from scenes.training.llava_tower import tower_of_clip

    model = fresh_model(tower_of_clip().state_dict(), 64)
    groups = parameter_groups(model)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert {(group["peak"] < 1e-3, group["weight_decay"] > 0) for group in groups} == {
        (tower, decayed) for tower in (True, False) for decayed in (True, False)
    }


def test_a_run_that_continues_from_its_checkpoint_ends_with_the_same_loss(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenes.training.train_llava.CHECKPOINT_EVERY", 1)
    plan, ends = [("mixed", 0), ("mixed", 1)], []
    for name, stops in (("whole", (3,)), ("killed", (2, 3))):
        folder = tmp_path / name
        folder.mkdir()
        for part in ("language", "validation", "tower", "sequences"):
            (folder / part).symlink_to(data / part)
        for stop in stops:  # the schedule is that of 3 steps; a killed run ends before it
            _train_until(folder, plan, stop)
        state = torch.load(folder / "run" / "checkpoint.pt", weights_only=True)
        assert state["step"] == 3
        ends.append(state["model"])
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


class _Killed(Exception):
    pass


def _train_until(folder: Path, plan: list[tuple[str, int]], stop: int) -> None:
    """Three steps of training, killed when the checkpoint of step `stop` is written."""
    kept = torch.save

    def save(state: dict[str, object], path: Path) -> None:
        kept(state, path)
        if state["step"] == stop < 3:
            shutil.move(path, path.with_suffix(".pt"))
            raise _Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "save", save)
        try:
            train(folder, plan, minutes=60, steps=3, batch=4, measure=3, questions=4, compiled=False)
        except _Killed:
            assert stop < 3
    if stop == 3:
        last = json.loads((folder / "run" / "log.jsonl").read_text().splitlines()[-1])
        assert set(last) == {"step", "seconds", "single", "pair"}
