"""The laboratory of REACT's gain: its arms, its verdicts and its truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.react_gain.arms import BASE, DEFAULT, Arm, Plan, arms_of, tuning_arms
from benchmarks.react_gain.claims import Runs, bootstrap, check_predictions
from benchmarks.react_gain.run_arm import config_of
from benchmarks.react_gain.tables import arms_table
from benchmarks.react_gain.world import _exchanged


def _result(arm: Arm, right: str, other: str = "1100") -> dict[str, Any]:
    return {**arm.about(), "pairs": 8, "test": 0.5, "other": 0.5, "test_right": right, "other_right": other}


@pytest.mark.parametrize("plan", [Plan.default(), Plan.pilot(), Plan.full()])
def test_every_arm_has_a_name_of_its_own_and_the_first_seed_comes_first(plan: Plan) -> None:
    arms = arms_of(plan)
    assert len({arm.name for arm in arms}) == len(arms) > 2
    assert [arm.seed for arm in arms] == sorted(arm.seed for arm in arms)
    assert arms[0] == DEFAULT
    assert all(arm.to_choose for arm in tuning_arms(plan))


@pytest.mark.parametrize("plan", [Plan.default(), Plan.pilot(), Plan.full()])
def test_every_arm_has_a_recipe_that_the_trainer_accepts(plan: Plan) -> None:
    for arm in arms_of(plan) + [arm for arm in tuning_arms(plan) if arm.strategy != "none"]:
        config = config_of(arm, plan, Path("out"), Path("base"), "store", "tars")
        assert config.hold_out == 0
        assert ("alpha" in config.rates()) == ("gated" in arm.strategy)


def test_some_axes_can_be_run_alone() -> None:
    assert {arm.axis for arm in arms_of(Plan.default(), ["size"])} == {"size"}


def test_an_interval_is_of_the_paired_differences() -> None:
    differences = np.array([1.0, 0.0, 0.0, -1.0] * 100)
    middle, low, high = bootstrap(differences)
    half = 1.96 * differences.std() / np.sqrt(len(differences))
    assert middle == 0
    assert low == pytest.approx(-half, abs=0.02)
    assert high == pytest.approx(half, abs=0.02)


def test_a_prediction_holds_only_if_its_whole_interval_is_above_the_least_difference() -> None:
    pictures = 400
    base = _result(BASE, "10" * (pictures // 2))
    for right, verdict in (("1" * pictures, "holds"), ("10" * (pictures // 2), "fails")):
        checked = check_predictions([base, _result(DEFAULT, right)])
        assert checked["gated image gains at least 5 points"]["verdict"] == verdict
    few = "1" * 24 + "10" * (pictures // 2 - 12)  # 12 of 400 more: 3 points
    checked = check_predictions([_result(replace(DEFAULT, value="random"), "10" * 200), _result(DEFAULT, few)])
    assert checked["retrieved above random pairs by at least 3"]["verdict"] == "unclear"
    assert check_predictions([base]) == {}


def test_the_outcomes_of_an_arm_are_means_over_its_seeds() -> None:
    runs = Runs([_result(DEFAULT, "1100"), _result(replace(DEFAULT, seed=1), "1010")])
    found = runs.pictures("pairs retrieved", "test")
    assert found is not None
    assert found.tolist() == [1.0, 0.5, 0.5, 0.0]
    assert "| pairs retrieved | 68.6 | 50.0 |" in arms_table([_result(BASE, "0000"), *runs.by_arm["pairs retrieved"]])


def test_noise_exchanges_a_share_of_the_captions() -> None:
    captions = [str(number) for number in range(100)]
    noisy = _exchanged(captions, 0.3, seed=1)
    assert sorted(noisy) == sorted(captions)
    assert sum(a != b for a, b in zip(captions, noisy, strict=True)) == 30
