"""Intervals against textbook values."""

from __future__ import annotations

import pytest

from customize.clip.evaluate.intervals import over_seeds, wilson


def test_three_seeds_have_students_t_interval() -> None:
    found = over_seeds([0.60, 0.62, 0.64])
    assert found.mean == pytest.approx(0.62)
    assert found.half == pytest.approx(4.303 * 0.02 / 3**0.5)
    assert [found.low, found.high] == pytest.approx([0.5703, 0.6697], abs=1e-4)


def test_one_run_has_no_interval() -> None:
    assert over_seeds([0.5]).half is None
    with pytest.raises(ValueError, match="no runs"):
        over_seeds([])


def test_wilson_stays_between_0_and_1() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert list(wilson(10, 10)) == pytest.approx([0.7225, 1.0], abs=1e-3)
    assert list(wilson(5, 10)) == pytest.approx([0.2366, 0.7634], abs=1e-3)
