"""Intervals against hand-computed values."""

from __future__ import annotations

import pytest

from customize.lmm.evaluate.intervals import Figure, mean_figure, share_figure


def test_wilsons_interval_of_a_share() -> None:
    # Wilson, 8 of 10, z 1.96: middle (0.8 + 0.19207) / 1.38415 = 0.71674, half 1.96 / 1.38415 *
    # sqrt(0.016 + 0.009604) = 0.22659
    figure = share_figure(8, 10)
    assert figure.value == 0.8
    assert figure.low == pytest.approx(0.4902, abs=1e-4)
    assert figure.high == pytest.approx(0.9433, abs=1e-4)
    assert (figure.count, figure.right, figure.floor, figure.ceiling) == (10, 8, 0.8, 0.8)


def test_shares_of_none_and_all_end_at_their_bound() -> None:
    none, every = share_figure(0, 20), share_figure(20, 20)
    assert none.low == 0.0
    assert every.high == 1.0
    assert none.high == pytest.approx(0.1611, abs=1e-4)  # z^2 / (n + z^2) = 3.8415 / 23.8415
    assert every.low == pytest.approx(1 - 0.1611, abs=1e-4)


def test_failures_are_no_wrong_answers_but_bound_the_share() -> None:
    figure = share_figure(6, 8, failed=2)
    assert figure.value == 0.75
    assert (figure.floor, figure.ceiling) == (0.6, 0.8)


def test_nothing_answered_has_no_value() -> None:
    assert share_figure(0, 0) == Figure(None, None, None, 0, "share", None, None, 0)
    figure = share_figure(0, 0, failed=4)
    assert (figure.value, figure.floor, figure.ceiling) == (None, 0.0, 1.0)
    with pytest.raises(ValueError, match="3 right of 2"):
        share_figure(3, 2)


def test_a_mean_has_a_bootstrap_interval() -> None:
    figure = mean_figure([0.0, 5.0] * 50, unit="rating", most=5.0)
    assert figure.value == 2.5
    assert figure.low is not None
    assert figure.high is not None
    # The standard error is 2.5 / 10; 1.96 of it on each side, as far as 2,000 resamples tell.
    assert figure.low == pytest.approx(2.01, abs=0.08)
    assert figure.high == pytest.approx(2.99, abs=0.08)
    assert mean_figure([0.0, 5.0] * 50, unit="rating", most=5.0) == figure


def test_a_mean_of_few_values() -> None:
    assert mean_figure([]).value is None
    one = mean_figure([0.5], failed=1)
    assert (one.value, one.low, one.high, one.floor, one.ceiling) == (0.5, None, None, 0.25, 0.75)
