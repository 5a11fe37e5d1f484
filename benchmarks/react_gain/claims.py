"""The predictions, which were written down before the grid ran, compared with what came out.

Differences are paired over test pictures: both arms classify the same ones. Their 95% intervals are bootstraps over
pictures of the mean over seeds; they hold for these seeds and say nothing of other retrieved pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.react_gain.arms import DEFAULT

Result = dict[str, Any]
RESAMPLES = 2_000
GAIN, OVER_RANDOM = 5.0, 3.0  # points


class Runs:
    """Results by arm, such as "strategy full"; "before" is the base."""

    def __init__(self, results: list[Result]) -> None:
        self.by_arm: dict[str, list[Result]] = {}
        for result in results:
            self.by_arm.setdefault(name_of(result), []).append(result)

    def pictures(self, name: str, kind: str) -> npt.NDArray[np.float64] | None:
        """float64 [pictures]: the share of an arm's seeds that named each picture right; None if not measured."""
        runs = [run[f"{kind}_right"] for run in self.by_arm.get(name, []) if f"{kind}_right" in run]
        if not runs:
            return None
        rows = [
            np.frombuffer(run.encode(), np.uint8) - ord("0") if isinstance(run, str) else np.array(run) for run in runs
        ]
        mean: npt.NDArray[np.float64] = np.mean(rows, axis=0, dtype=np.float64)
        return mean

    def difference(self, one: str, other: str, kind: str = "test") -> tuple[float, float, float] | None:
        """The first arm's accuracy less the second's in points, and its 95% interval; None if one was not measured."""
        first, second = self.pictures(one, kind), self.pictures(other, kind)
        return None if first is None or second is None else bootstrap(100 * (first - second))


def name_of(result: Result) -> str:
    return "before" if result["axis"] == "base" else f"{result['axis']} {result['value']}"


def bootstrap(differences: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean of differences [pictures], and its 95% interval by resampling pictures."""
    chance = np.random.default_rng(0)
    means = [chance.choice(differences, len(differences)).mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(differences.mean()), float(low), float(high)


# (prediction, better arm, worse arm, pictures, least difference in points, the thesis)
DEFAULT_NAME = f"{DEFAULT.axis} {DEFAULT.value}"
PREDICTIONS: tuple[tuple[str, str, str, str, float, str], ...] = (
    ("gated image gains at least 5 points", DEFAULT_NAME, "before", "test", GAIN, "63.2 -> 68.6"),
    ("retrieved above random pairs by at least 3", DEFAULT_NAME, "pairs random", "test", OVER_RANDOM, "not measured"),
    ("locked text gains", "strategy locked-text", "before", "test", 0.0, "63.2 -> 66.9"),
    ("locked text above locked image", "strategy locked-text", "strategy locked-image", "test", 0.0, "66.9 and 63.7"),
    ("locked text above full", "strategy locked-text", "strategy full", "test", 0.0, "66.9 and 64.3"),
    ("gated image above direct", DEFAULT_NAME, "strategy locked-text", "test", 0.0, "68.6 and 66.9"),
    ("gated both gains", "strategy gated-both", "before", "test", 0.0, "63.2 -> 68.7"),
    ("30 pairs a concept above 10", DEFAULT_NAME, "size 10", "test", 0.0, "64.8 at 1M, 66.9 at 3M"),
    ("100 pairs a concept above 30", "size 100", DEFAULT_NAME, "test", 0.0, "66.9 at 3M, 68.6 at 6M"),
    ("oracle pairs above retrieved ones", "pairs oracle", DEFAULT_NAME, "test", 0.0, "not measured"),
    ("the base's own pretraining data helps (F1)", "source pretrain", "before", "test", 0.0, "62.9 -> 66.4"),
    ("the pool above the base's own data", DEFAULT_NAME, "source pretrain", "test", 0.0, "68.6 and 66.4"),
    (
        "a larger pool is better at equal size (F3)",
        DEFAULT_NAME,
        "source small pool",
        "test",
        0.0,
        "LAION 2B above 400M",
    ),
    ("both modes above T2T alone", DEFAULT_NAME, "mode t2t", "test", 0.0, "not in our tables"),
    ("both modes above T2I alone", DEFAULT_NAME, "mode t2i", "test", 0.0, "not in our tables"),
    ("better 5-shot probe", DEFAULT_NAME, "before", "probe 5", 0.0, "65.4 -> 68.9"),
    ("better full-shot probe", DEFAULT_NAME, "before", "probe full", 0.0, "better on 20 sets"),
)


def check_predictions(results: list[Result]) -> dict[str, Result]:
    """Prediction -> {thesis, difference, verdict}; those without results are skipped.

    verdict: "holds" or "fails" if the whole interval lies on one side of the least difference, else "unclear".
    """
    runs, checked = Runs(results), {}
    for name, better, worse, kind, least, thesis in PREDICTIONS:
        found = runs.difference(better, worse, kind)
        if found is None:
            continue
        verdict = "holds" if found[1] > least else "fails" if found[2] < least else "unclear"
        checked[name] = {"thesis": thesis, "difference": [round(value, 2) for value in found], "verdict": verdict}
    large, default = runs.difference("size 100", DEFAULT_NAME), runs.difference(DEFAULT_NAME, "size 10")
    if large is not None and default is not None:
        # Saturation: three times the pairs add less than the three times before.
        verdict = "holds" if large[0] < default[0] else "fails"
        checked["the gain saturates with size"] = {
            "thesis": "68.6 at 6M and at 10M",
            "difference": [round(value, 2) for value in large],
            "verdict": verdict,
        }
    return checked
