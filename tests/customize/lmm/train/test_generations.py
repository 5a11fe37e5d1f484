"""Held-out samples are asked as they are trained, at intervals and at the end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from customize.lmm.data.sample import IGNORED, EncodedSample
from customize.lmm.model.load import Lmm, load_lmm
from customize.lmm.model.source import LmmSource
from customize.lmm.train.generations import Generation, Generations, append_generations
from tests.customize.lmm.train.conftest import Material


@pytest.fixture(scope="module")
def lmm(material: Material) -> Lmm:
    return load_lmm(LmmSource(model=str(material.model)))


def sample(lmm: Lmm) -> EncodedSample:
    """A question about one image, its answer, and a second question with its answer about another image."""
    parts = [("Q: ", False), ("<image>" * 4, False), (" A:", False), (" yes</s>", True), ("<image>" * 4, False)]
    tokens = [(lmm.tokenizer(text, add_special_tokens=False)["input_ids"], trained) for text, trained in parts]
    ids = np.concatenate([found for found, _ in tokens])
    labels = np.concatenate([found if trained else [IGNORED] * len(found) for found, trained in tokens])
    return EncodedSample("one", "held-out", ids, labels)


def test_the_first_question_is_asked_with_its_images(lmm: Lmm) -> None:
    features = torch.randn(2, 4, 32)
    generations = Generations(lmm, [sample(lmm)], lambda _: features, every=4, most_tokens=3)
    (found,) = generations.answer(8, bf16=False)
    assert (found.step, found.sample_id, found.source) == (8, "one", "held-out")
    assert (found.question, found.expected) == ("Q:  A:", "yes")
    assert len(found.answer.encode()) <= 9
    assert lmm.model.training
    assert not lmm.llava.model.vision_tower.training


def test_answers_are_due_at_intervals_and_at_the_end(lmm: Lmm) -> None:
    generations = Generations(lmm, [sample(lmm)], lambda _: torch.empty(0), every=4, most_tokens=3)
    assert [step for step in range(1, 11) if generations.due(step, 10)] == [4, 8, 10]
    nothing = Generations(lmm, [], lambda _: torch.empty(0), every=4, most_tokens=3)
    assert not nothing.due(4, 10)


def test_answers_that_a_killed_run_left_behind_are_replaced(tmp_path: Path) -> None:
    for step, before in ((4, 3), (8, 7), (8, 7)):
        append_generations(str(tmp_path), [Generation(step, "one", "held-out", "Q", f"answer {step}", "yes")], before)
    lines = [json.loads(line) for line in (tmp_path / "generations.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]
