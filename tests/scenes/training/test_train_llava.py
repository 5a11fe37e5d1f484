"""Training of the LLaVA: batches, measuring, a killed run that continues, and what the shipped model can do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from scenes.drawing.render import render
from scenes.training.llava_data import load_tokenizer, tokenizer_texts, write_block
from scenes.training.llava_images import prepare_images
from scenes.training.llava_model import PAD_ID, fresh_model, train_tokenizer
from scenes.training.llava_tower import train_tower
from scenes.training.train_llava import (
    SHIFT,
    Batches,
    accuracies,
    answers_right,
    augmented,
    fixed_questions,
    padded,
    parameter_groups,
    read_plan,
    train,
)
from scenes.world.easy import easy_scene


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


def test_rows_are_padded_on_the_right() -> None:
    rows = padded([([5, 6, 7], [False, True, True], [4, -1]), ([8], [True], [2, 9])])
    assert rows.tokens.tolist() == [[5, 6, 7] + [PAD_ID] * 5, [8] + [PAD_ID] * 7]
    assert rows.trained.sum().item() == 3
    assert rows.images.tolist() == [4, 2, 9]


def test_a_pass_over_the_plan_has_every_sequence_once_and_a_step_is_always_the_same(data: Path) -> None:
    batches = Batches(data / "sequences", [("mixed", 0), ("mixed", 1)], batch=4)
    rows = [row for step in range(6) for row in batches(step).tokens.tolist()]
    texts = {tuple(token for token in row if token != PAD_ID) for row in rows}
    assert len(rows) == 24
    assert len(texts) == 24
    again = Batches(data / "sequences", [("mixed", 0), ("mixed", 1)], batch=4)(4)
    assert torch.equal(again.tokens, batches(4).tokens)
    assert torch.equal(batches(6).tokens, batches(0).tokens)


def test_images_are_moved_by_a_few_pixels_only() -> None:
    image = np.zeros((1, 96, 96, 3), np.uint8)
    image[0, 48, 48] = 255
    for seed in range(5):
        pixels = augmented(image, np.random.default_rng(seed))[0, 0]
        y, x = divmod(int(pixels.argmax()), 96)
        assert abs(y - 48) <= SHIFT
        assert abs(x - 48) <= SHIFT


def test_accuracies_are_by_kind_and_of_all() -> None:
    found = [("color", True), ("color", False), ("place", True), ("place", True)]
    assert accuracies(found) == {"all": 0.75, "color": 0.5, "place": 1.0}


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


def test_questions_are_measured_by_the_answers_that_greedy_decoding_gives(data: Path) -> None:
    from scenes.training.llava_tower import tower_of_clip

    tokenizer = load_tokenizer(data / "sequences")
    fixed = fixed_questions(tokenizer, 2, 6)
    assert all(len(sample.images) == 2 and len(sample.turns) == 1 for sample in fixed.samples)
    images = np.stack([render(easy_scene("validation", number)).image for number in range(8)])
    found = answers_right(fresh_model(tower_of_clip().state_dict(), 2048), fixed, images)
    assert len(found) == 6
    assert not any(right for _, right in found)  # random weights
