"""The search for a learning rate and a weight decay that ELEVATER's toolkit makes before each run.

It tries six learning rates, 1e-6 to 1e-1. For each it searches the weight decay on a grid of 97 points from 1e-6 to
1e6: seven coarse points first, then the points left and right of the best one, with the distance halved from 8 to 1
(toolkit `full_model_finetune.hyperparameter_sweep`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = [
    "FULL_SEARCH",
    "LEARNING_RATES",
    "QUICK_SEARCH",
    "WEIGHT_DECAYS",
    "Hyperparameters",
    "Search",
    "search",
]

LEARNING_RATES = tuple(10.0**power for power in range(-6, 0))
WEIGHT_DECAYS = tuple(float(decay) for decay in np.logspace(-6, 6, 97))
_COARSE = 16  # every 16th of 97: the seven powers of 100
_FIRST_STEP = 8


@dataclass(frozen=True)
class Hyperparameters:
    """A learning rate and a weight decay (L2), with their validation score from 0 to 1; None without a search."""

    lr: float
    weight_decay: float
    validation: float | None


@dataclass(frozen=True)
class Search:
    """What to try.

    Attributes:
        learning_rates: all are tried.
        coarse: positions in WEIGHT_DECAYS that are tried for each learning rate.
        first_step: distance of the first points around the best coarse one, halved until 1; 0: no refining.
    """

    learning_rates: tuple[float, ...] = LEARNING_RATES
    coarse: tuple[int, ...] = tuple(range(0, len(WEIGHT_DECAYS), _COARSE))
    first_step: int = _FIRST_STEP


FULL_SEARCH = Search()
# For trials and slow machines: three rates, three decays and no refining, so 9 runs instead of about 80.
QUICK_SEARCH = Search(learning_rates=(1e-3, 1e-2, 1e-1), coarse=(0, 16, 32), first_step=0)


def search(measure: Callable[[float, float], float], plan: Search) -> Hyperparameters:
    """The setting with the highest `measure(lr, weight_decay)`; the first one wins a tie.

    A measure that is not finite (a run that diverged) counts as -1.
    """
    best, best_score = Hyperparameters(plan.learning_rates[0], WEIGHT_DECAYS[plan.coarse[0]], None), -np.inf
    for lr in plan.learning_rates:
        tried: dict[int, float] = {}

        def at(position: int, lr: float = lr, tried: dict[int, float] = tried) -> float:
            if position not in tried:
                found = measure(lr, WEIGHT_DECAYS[position])
                tried[position] = found if np.isfinite(found) else -1.0
            return tried[position]

        peak = max(plan.coarse, key=at)
        step = plan.first_step
        while step > 0:
            around = (peak, max(peak - step, 0), min(peak + step, len(WEIGHT_DECAYS) - 1))
            peak = max(around, key=at)
            step //= 2
        if at(peak) > best_score:
            best, best_score = Hyperparameters(lr, WEIGHT_DECAYS[peak], at(peak)), at(peak)
    return best
