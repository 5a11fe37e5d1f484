"""Accuracy of answers to fixed questions, by kind."""

from __future__ import annotations

import numpy as np

from scenes.drawing.render import render
from scenes.training.llava_accuracy import accuracies, answers_right, fixed_questions
from scenes.training.llava_data import tokenizer_texts
from scenes.training.llava_model import fresh_model, train_tokenizer
from scenes.training.llava_tower import tower_of_clip
from scenes.world.easy import easy_scene


def test_accuracies_are_by_kind_and_of_all() -> None:
    found = [("color", True), ("color", False), ("place", True), ("place", True)]
    assert accuracies(found) == {"all": 0.75, "color": 0.5, "place": 1.0}


def test_questions_are_measured_by_the_answers_that_greedy_decoding_gives() -> None:
    tokenizer = train_tokenizer(tokenizer_texts(40))
    fixed = fixed_questions(tokenizer, 2, 6)
    assert all(len(sample.images) == 2 and len(sample.turns) == 1 for sample in fixed.samples)
    images = np.stack([render(easy_scene("validation", number)).image for number in range(8)])
    found = answers_right(fresh_model(tower_of_clip().state_dict(), 2048), fixed, images)
    assert len(found) == 6
    assert not any(right for _, right in found)  # random weights
