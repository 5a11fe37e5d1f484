"""The search finds the peak with few runs, and a run that diverges never wins."""

from __future__ import annotations

import math

from customize.clip.evaluate.hyperparameters import FULL_SEARCH, LEARNING_RATES, QUICK_SEARCH, WEIGHT_DECAYS, search


def test_the_peak_of_a_smooth_landscape_is_found() -> None:
    tried = []

    def measure(lr: float, decay: float) -> float:
        tried.append((lr, decay))
        return 1 - abs(math.log10(lr) + 3) / 10 - abs(math.log10(decay) - 1) / 100

    best = search(measure, FULL_SEARCH)
    assert best.lr == LEARNING_RATES[3]
    assert abs(math.log10(best.weight_decay) - 1) < 0.13  # the grid's step is an eighth of a decade
    assert len(tried) == len(set(tried))  # nothing twice
    assert len(tried) <= 6 * (7 + 8)


def test_the_grid_is_the_toolkits() -> None:
    assert (len(WEIGHT_DECAYS), WEIGHT_DECAYS[0], round(WEIGHT_DECAYS[-1])) == (97, 1e-6, 1_000_000)
    assert [round(math.log10(WEIGHT_DECAYS[place])) for place in FULL_SEARCH.coarse] == [-6, -4, -2, 0, 2, 4, 6]


def test_a_run_that_diverged_never_wins() -> None:
    best = search(lambda lr, decay: math.nan if lr > 1e-2 else 0.1, QUICK_SEARCH)
    assert best.lr == 1e-3
    assert best.validation == 0.1
