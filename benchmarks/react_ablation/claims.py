"""The claims of the thesis (tables 2.1, 2.2, 2.6 and the retrieval sizes), compared with the ablation's results.

Each claim compares two means over seeds; a difference within two standard errors is reported as unclear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Result = dict[str, Any]


def check_claims(results: list[Result]) -> dict[str, Result]:
    """Claim -> {thesis, said, verdict}, verdict "holds", "differs" or "unclear"; claims without results are skipped.

    A difference of less than two standard errors is unclear. The error of an accuracy is over test images (means over
    seeds, paired); that of other measures is over seeds.
    """
    found = _Means(results)
    claims: dict[str, Result] = {}

    def claim(name: str, thesis: str, better: str, worse: str, measure: str) -> None:
        high, low = found.get(better, measure), found.get(worse, measure)
        if high is None or low is None:
            return
        doubt = 2 * found.error(better, worse, measure)
        verdict = "unclear" if abs(high - low) <= doubt else "holds" if high > low else "differs"
        said = f"{measure} {100 * high:.1f} ({better}) and {100 * low:.1f} ({worse}), {100 * (high - low):+.1f} "
        claims[name] = {"thesis": thesis, "said": said + f"+- {100 * doubt:.1f}", "verdict": verdict}

    strategy = "classification-strategy"
    for name in ("locked-text", "locked-text-gated-image"):
        claim(f"{name} gains", "63.2 -> 66.9 and 68.6", f"{strategy}-{name}", "base", "accuracy")
    claim(
        "locked text above locked image",
        "66.9 and 63.7",
        f"{strategy}-locked-text",
        f"{strategy}-locked-image",
        "accuracy",
    )
    claim("locked text above full", "66.9 and 64.3", f"{strategy}-locked-text", f"{strategy}-full", "accuracy")
    best = f"{strategy}-locked-text-gated-image"
    claim("gated image above direct", "68.6 and 66.9", best, f"{strategy}-locked-text", "accuracy")
    claim("gated image above gated text", "68.6 and 63.0", best, f"{strategy}-gated-text", "accuracy")
    free = "classification-free text, gamma 1"
    claim(
        "locked text above locked image, gamma 1",
        "66.9 and 63.7",
        f"{strategy}-locked-text",
        f"{free}-locked-image",
        "accuracy",
    )
    claim("locked text above full, gamma 1", "66.9 and 64.3", f"{strategy}-locked-text", f"{free}-full", "accuracy")
    claim("gated image above gated text, gamma 1", "68.6 and 63.0", best, f"{free}-gated-text", "accuracy")
    other = "retrieval-strategy"
    for way in ("T2I R@1", "I2T R@1"):
        claim(f"retrieval wants text free, {way}", "54.3 and 51.1", f"{other}-full", f"{other}-locked-text", way)
        claim(
            f"retrieval, both gated, {way}",
            "54.3 and 53.4",
            f"{other}-gated-both",
            f"{other}-locked-text-gated-image",
            way,
        )
    claim("more pairs are better", "68.6 at 6M, 64.8 at 1M", best, "classification-size-0.1", "accuracy")
    claim("gamma 0.9 above no gamma", "0.9 for classification", best, "classification-gamma-none", "accuracy")
    claim("retrieved above random", "our control, not the thesis's", best, "classification-source-random", "accuracy")
    claim("own pre-training data helps (F1)", "62.9 -> 66.4", "classification-source-pretrain", "base", "accuracy")
    for shots in ("5", "20"):
        claim(f"better {shots}-shot probe", "65.4 -> 68.9", best, "base", f"probe {shots}")
    return claims


class _Means:
    """Means over seeds by arm, such as "classification-strategy-full"; "base" is the model before training."""

    def __init__(self, results: list[Result]) -> None:
        self.runs: dict[str, list[Result]] = {}
        for result in results:
            name = "base" if result["axis"] == "base" else f"{result['task']}-{result['axis']}-{result['value']}"
            self.runs.setdefault(name, []).append(result)

    def get(self, name: str, measure: str) -> float | None:
        """The mean over seeds; None when the measure is missing."""
        values = [run[measure] for run in self.runs.get(name, []) if measure in run]
        return sum(values) / len(values) if values else None

    def error(self, one: str, other: str, measure: str) -> float:
        """The standard error of the difference of two arms."""
        if measure == "accuracy":
            difference = self._pictures(one) - self._pictures(other)
            return float(difference.std() / np.sqrt(len(difference)))
        variances = []
        for name in (one, other):
            values = [run[measure] for run in self.runs[name] if measure in run]
            variances.append(np.var(values, ddof=1) / len(values) if len(values) > 1 else 0.0)
        return float(np.sqrt(sum(variances)))

    def _pictures(self, name: str) -> npt.NDArray[np.float64]:
        """The share of seeds that classified each test image correctly [images]."""
        right = [np.frombuffer(run["right"].encode(), np.uint8) - ord("0") for run in self.runs[name]]
        mean: npt.NDArray[np.float64] = np.mean(right, axis=0, dtype=np.float64)
        return mean
