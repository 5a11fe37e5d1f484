"""The images that share captions with an image, compared with counting them one by one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from index.graph import co_answers
from index.graph.co_answers import CoAnswers


def _counted(answers: np.ndarray, image: int, most: int) -> list[int]:
    counts: Counter[int] = Counter()
    for row in answers.tolist():
        if image in row:
            counts.update(other for other in row if other not in (-1, image))
    return [other for other, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))][:most]


def test_the_images_that_share_most_captions_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    answers = np.array([rng.permutation(60)[:6] for _ in range(300)], np.int32)
    answers[:20, 4:] = -1  # captions with fewer answers
    monkeypatch.setattr(co_answers, "_PAIRS", 20_000)  # so that images are counted in several blocks
    found = CoAnswers(answers, 60).most_frequent(10, 60, 8)
    for image in range(10, 60):
        assert [other for other in found[image - 10].tolist() if other >= 0] == _counted(answers, image, 8)


def test_an_image_that_no_caption_finds_has_none() -> None:
    found = CoAnswers(np.array([[0, 2]], np.int32), 3).most_frequent(0, 3, 4)
    assert found.tolist() == [[2, -1, -1, -1], [-1] * 4, [0, -1, -1, -1]]


def test_of_an_image_with_very_many_captions_those_that_it_answers_best_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(co_answers, "_CAPTIONS", 2)
    answers = np.array([[1, 0], [2, 0], [0, 3], [0, 4]], np.int32)
    assert CoAnswers(answers, 5).most_frequent(0, 1, 4).tolist() == [[3, 4, -1, -1]]
