"""The metrics against small cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from customize.clip.evaluate.metrics import accuracy, eleven_point_map, mean_per_class, roc_auc, score, top_k
from index.errors import BadInput, MissingDependency

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.4, 0.1], [0.2, 0.3, 0.5]], np.float32)
LABELS = [(0,), (1,), (1,), (2,)]


def test_accuracy_is_the_share_whose_best_class_is_theirs() -> None:
    assert accuracy(SCORES, LABELS) == 0.75
    assert top_k(SCORES, LABELS, 2) == 1.0


def test_a_tie_goes_to_the_lower_class_as_argmax_does() -> None:
    tied = np.array([[0.5, 0.5]], np.float32)
    assert accuracy(tied, [(0,)]) == 1.0
    assert accuracy(tied, [(1,)]) == 0.0


def test_mean_per_class_weighs_classes_alike() -> None:
    assert mean_per_class(SCORES, LABELS) == pytest.approx((1 + 0.5 + 1) / 3)


def test_roc_auc_counts_pairs_in_order_and_ties_half() -> None:
    positive = np.array([0.9, 0.8, 0.4, 0.4, 0.1], np.float32)
    scores = np.stack([1 - positive, positive], 1)
    # Pairs (positive 0.9, 0.4) x (negative 0.8, 0.4, 0.1): 3 of 3, then below, tie, above = 1.5.
    assert roc_auc(scores, [(1,), (0,), (1,), (0,), (0,)]) == pytest.approx(4.5 / 6)


def test_eleven_point_map_interpolates_precision() -> None:
    # Class 0: hits at ranks 1 and 3 of 4. Recall 0.5 at precision 1, then 1 at 2/3: (6 x 1 + 5 x 2/3) / 11.
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.9], [0.1, 0.3]], np.float32)
    labels: list[tuple[int, ...]] = [(0,), (), (0, 1), ()]
    assert eleven_point_map(scores, labels) == pytest.approx(((6 + 5 * 2 / 3) / 11 + 1) / 2)


def test_an_unknown_metric_lists_those_there_are() -> None:
    with pytest.raises(BadInput, match="choose one of accuracy, mean-per-class"):
        score("f1", SCORES, LABELS)


def test_several_labels_need_a_metric_that_takes_them() -> None:
    with pytest.raises(BadInput, match="image number 1 has 2 labels"):
        accuracy(SCORES, [(0, 1), (1,), (1,), (2,)])


def test_classes_without_images_do_not_count() -> None:
    # Class 2 has no image but is predicted once; scikit-learn would warn of it.
    assert mean_per_class(SCORES, [(0,), (1,), (1,), (1,)]) == pytest.approx((1 + 1 / 3) / 2)


def test_one_class_alone_has_no_roc_curve() -> None:
    with pytest.raises(BadInput, match="needs images of both classes"):
        roc_auc(SCORES[:, :2], [(1,)] * 4)


@pytest.mark.parametrize(("metric", "labels"), [("mean-per-class", LABELS), ("roc_auc", [(0,), (1,), (1,), (1,)])])
def test_without_scikit_learn_the_install_command_is_named(
    metric: str, labels: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=rf"{metric} needs scikit-learn, .* pip install '.\[evaluate\]'"):
        score(metric, SCORES[:, : 2 if metric == "roc_auc" else 3], labels)
