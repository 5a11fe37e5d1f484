"""Batches of prepared blocks: padding, order, moved images, words of patches when they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scenes.drawing.render import render
from scenes.training.llava_batches import SHIFT, Batches, Targets, augmented, padded
from scenes.training.llava_data import tokenizer_texts, write_block
from scenes.training.llava_images import coverage
from scenes.training.llava_model import PAD_ID, train_tokenizer
from scenes.training.llava_words import word_targets
from scenes.world.easy import easy_scene


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sequences")
    train_tokenizer(tokenizer_texts(40)).save(str(out / "tokenizer.json"))
    for block in range(2):
        write_block(out, "mixed", block, images=24, scenes=12, sequences=12)
    return out


def test_rows_are_padded_on_the_right() -> None:
    rows = padded([([5, 6, 7], [False, True, True], [4, -1]), ([8], [True], [2, 9])])
    assert rows.tokens.tolist() == [[5, 6, 7] + [PAD_ID] * 5, [8] + [PAD_ID] * 7]
    assert rows.trained.sum().item() == 3
    assert rows.images.tolist() == [4, 2, 9]


def test_a_pass_over_the_plan_has_every_sequence_once_and_a_step_is_always_the_same(sequences: Path) -> None:
    batches = Batches(sequences, [("mixed", 0), ("mixed", 1)], batch=4)
    rows = [row for step in range(6) for row in batches(step).tokens.tolist()]
    texts = {tuple(token for token in row if token != PAD_ID) for row in rows}
    assert len(rows) == 24
    assert len(texts) == 24
    again = Batches(sequences, [("mixed", 0), ("mixed", 1)], batch=4)(4)
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


def test_words_are_calculated_for_the_scenes_asked_for() -> None:
    covered = np.stack([coverage(render(easy_scene("language", number)).mask) for number in range(6)])
    targets = Targets(covered)
    np.testing.assert_array_equal(targets(np.array([4, 1, 4])), word_targets("language", [4, 1, 4], covered[[4, 1, 4]]))
    assert targets.known.tolist() == [False, True, False, False, True, False]
