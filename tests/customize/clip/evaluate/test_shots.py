"""Few-shot sets: exact per class, the same for a seed, and split without overlap."""

from __future__ import annotations

import numpy as np
import pytest

from customize.clip.evaluate.shots import draw_share, draw_shots, split_validation
from index.errors import BadInput

LABELS = [(number % 4,) for number in range(80)]


def test_each_class_gives_as_many_as_asked() -> None:
    places = draw_shots(LABELS, 5, seed=0)
    assert np.bincount([LABELS[place][0] for place in places]).tolist() == [5, 5, 5, 5]
    assert np.array_equal(places, draw_shots(LABELS, 5, seed=0))
    assert not np.array_equal(places, draw_shots(LABELS, 5, seed=1))


def test_a_small_class_gives_all_it_has_and_full_is_all() -> None:
    labels = [(0,)] * 3 + [(1,)] * 30
    assert len(draw_shots(labels, 5, seed=0)) == 8
    assert len(draw_shots(labels, None, seed=0)) == 33


def test_an_image_of_several_classes_counts_for_each() -> None:
    labels = [(0, 1)] * 4 + [(2,)] * 4
    assert len(draw_shots(labels, 2, seed=0)) == 4


def test_one_percent_of_labels_keeps_every_class() -> None:
    labels = [(0,)] * 1000 + [(1,)] * 200 + [(2,)] * 3
    places = draw_share(labels, 0.01, seed=0)
    assert np.bincount([labels[place][0] for place in places]).tolist() == [10, 2, 1]


def test_a_fifth_is_held_back_for_choosing() -> None:
    fitted, held = split_validation(np.arange(20), seed=0)
    assert (len(fitted), len(held)) == (16, 4)
    assert set(fitted) | set(held) == set(range(20))
    assert [len(part) for part in split_validation(np.arange(2), seed=0)] == [1, 1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: draw_shots(LABELS, 0, 0), "take at least 1"),
        (lambda: draw_shots([(), ()], 5, 0), "no labels"),
        (lambda: draw_share(LABELS, 1.5, 0), "give more than 0 and at most 1"),
        (lambda: split_validation(np.arange(1), 0), "cannot be split"),
    ],
)
def test_what_cannot_be_drawn_is_said(wrong: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        wrong()  # type: ignore[operator]
