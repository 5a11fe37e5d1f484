"""AP50 against cases worked out by hand, crowds, and boxes that cannot be."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from customize.clip.evaluate.box_ap import Boxes, FoundBoxes, TrueBoxes, ap50, box_faults
from index.errors import MissingDependency


def boxes(*rows: tuple[float, float, float, float]) -> Boxes:
    return np.array(rows, np.float32).reshape(-1, 4)


def found(shown: Boxes, labels: list[int], scores: list[float]) -> FoundBoxes:
    return FoundBoxes(shown, np.array(labels, np.int64), np.array(scores, np.float32))


def test_hits_are_ranked_and_a_box_counts_once(capfd: pytest.CaptureFixture[str]) -> None:
    truth = [TrueBoxes(boxes((0, 0, 10, 10), (20, 0, 30, 10)), np.array([1, 1]))]
    answers = [found(boxes((0, 0, 10, 10), (0, 0, 10, 9), (20, 0, 30, 10)), [1, 1, 1], [0.9, 0.8, 0.7])]
    # Hit, a second answer for the same box (wrong), hit: precision 1 up to recall 0.5, then 2/3; 51 and 50 of 101.
    assert ap50(answers, truth, 2) == [None, pytest.approx((51 + 50 * 2 / 3) / 101)]
    assert capfd.readouterr().out == ""


def test_answers_of_several_images_are_ranked_together() -> None:
    truth = [TrueBoxes(boxes((0, 0, 10, 10)), np.array([0])), TrueBoxes(boxes((0, 0, 8, 8)), np.array([0]))]
    wrong = found(boxes((50, 50, 60, 60)), [0], [0.9])
    right = found(boxes((0, 0, 8, 8)), [0], [0.8])
    # Wrong, then right: precision 1/2 up to recall 0.5, and 0 beyond.
    assert ap50([wrong, right], truth, 1) == [pytest.approx(51 * 0.5 / 101)]


def test_a_poor_overlap_is_no_hit_and_no_answer_is_zero() -> None:
    truth = [TrueBoxes(boxes((0, 0, 10, 10)), np.array([0]))]
    assert ap50([found(boxes((0, 0, 4, 10)), [0], [0.9])], truth, 1) == [0.0]
    assert ap50([found(boxes(), [], [])], truth, 1) == [0.0]


def test_answers_in_a_crowd_are_neither_right_nor_wrong() -> None:
    shown, labels = boxes((0, 0, 10, 10), (40, 0, 90, 50)), np.array([0, 0])
    answers = [found(boxes((42, 2, 52, 12), (60, 2, 70, 12), (0, 0, 10, 10)), [0, 0, 0], [0.9, 0.8, 0.7])]
    crowd = np.array([False, True])
    assert ap50(answers, [TrueBoxes(shown, labels, crowd)], 1) == [pytest.approx(1.0)]
    # As an ordinary box it is missed, and both answers in it are wrong.
    assert ap50(answers, [TrueBoxes(shown, labels)], 1) == [pytest.approx(51 / 3 / 101)]
    alone = TrueBoxes(shown[1:], labels[1:], crowd[1:])
    assert ap50(answers, [alone], 1) == [None]


def test_boxes_outside_or_without_area_are_named() -> None:
    assert box_faults(boxes((0, 0, 20.4, 10)), 20, 10) is None  # rounded annotations
    assert "[0, 0, 25, 10] lies outside of the image of 20 x 10 pixels" in str(
        box_faults(boxes((0, 0, 25, 10)), 20, 10)
    )
    assert "[8, 0, 4, 10] has no area" in str(box_faults(boxes((8, 0, 4, 10)), 20, 10))
    assert "has no area" in str(box_faults(boxes((0, 0, float("nan"), 10)), 20, 10))


def test_without_pycocotools_the_install_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"AP50 needs pycocotools, .* pip install '.\[evaluate\]'"):
        ap50([], [], 1)
