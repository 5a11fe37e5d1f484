"""Margins grow with the logarithm of the rows that are asked for."""

from __future__ import annotations

import numpy as np

from index.graph.margins import Margins


def test_margins_between_and_beyond_what_was_measured() -> None:
    margins = Margins(1_000, 3_000)
    assert margins.of(np.array([1.0, 10.0, 100.0, 1_000.0])).tolist() == [1_000, 1_000, 3_000, 5_000]
    assert 1_000 < margins.of(np.array([30.0]))[0] < 3_000
    assert Margins(1_000, 900).of(np.array([100.0]))[0] == 1_000
