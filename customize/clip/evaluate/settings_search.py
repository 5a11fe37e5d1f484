"""The search for a learning rate and a weight decay that ELEVATER's toolkit makes before each run.

Six learning rates, 1e-6 to 1e-1. For each, weight decay on a grid of 97 points from 1e-6 to 1e6: seven coarse ones,
then left and right of the best with the step halved, 8 to 1 (toolkit `full_model_finetune.hyperparameter_sweep`).
Knows nothing of what is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["DECAYS", "FULL_SEARCH", "LEARNING_RATES", "QUICK_SEARCH", "Search", "Settings", "search"]

LEARNING_RATES = tuple(10.0**power for power in range(-6, 0))
DECAYS = tuple(float(decay) for decay in np.logspace(-6, 6, 97))
_COARSE = 16  # every 16th of 97: the seven powers of 100
_FIRST_STEP = 8


@dataclass(frozen=True)
class Settings:
    """A learning rate and a weight decay (L2), with the validation score that they were chosen for, 0 to 1; None
    where nobody searched."""

    lr: float
    weight_decay: float
    validation: float | None


@dataclass(frozen=True)
class Search:
    """What to try: learning rates, places of the first decays in DECAYS, the first refining step (0: none)."""

    learning_rates: tuple[float, ...] = LEARNING_RATES
    coarse: tuple[int, ...] = tuple(range(0, len(DECAYS), _COARSE))
    first_step: int = _FIRST_STEP


FULL_SEARCH = Search()
# For trials and slow machines: three rates, three decays, no refining; 9 runs instead of about 80.
QUICK_SEARCH = Search(learning_rates=(1e-3, 1e-2, 1e-1), coarse=(0, 16, 32), first_step=0)


def search(measure: Callable[[float, float], float], plan: Search) -> Settings:
    """The best settings by `measure(lr, weight_decay)`, higher is better; the first one wins a tie.

    A measure that is not finite (a run that diverged) never wins.
    """
    best, reached = Settings(plan.learning_rates[0], DECAYS[plan.coarse[0]], None), -np.inf
    for lr in plan.learning_rates:
        tried: dict[int, float] = {}

        def at(place: int, lr: float = lr, tried: dict[int, float] = tried) -> float:
            if place not in tried:
                found = measure(lr, DECAYS[place])
                tried[place] = found if np.isfinite(found) else -1.0
            return tried[place]

        peak = max(plan.coarse, key=at)
        step = plan.first_step
        while step > 0:
            around = (peak, max(peak - step, 0), min(peak + step, len(DECAYS) - 1))
            peak = max(around, key=at)
            step //= 2
        if at(peak) > reached:
            best, reached = Settings(lr, DECAYS[peak], at(peak)), at(peak)
    return best
