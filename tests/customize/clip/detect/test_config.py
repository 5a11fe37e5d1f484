"""The settings of a detector: RegionCLIP's by default, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from customize.clip.detect.config import DetectConfig, Recipe, recipe_of
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput


def test_the_learning_rate_rises_and_falls_as_in_regionclips_recipe() -> None:
    recipe = Recipe()
    steps = (0, 2_500, 5_000, 59_999, 60_000, 79_999, 80_000, 89_999)
    rates = [recipe.learning_rate(step) for step in steps]
    assert rates == pytest.approx([2e-6, 1.001e-3, 2e-3, 2e-3, 2e-4, 2e-4, 2e-5, 2e-5])


def test_a_short_run_warms_up_for_a_tenth() -> None:
    assert Recipe(steps=200).warmup_steps == 20
    assert Recipe(steps=200, warmup=3).warmup_steps == 3
    assert Recipe(steps=5).learning_rate(0) == 0.002


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cut_after": 2}, "--cut-after 2"),
        ({"optimizer": "adam"}, "--optimizer adam"),
        ({"frozen_stages": 5}, "--frozen-stages 5"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"temperature": 0.0}, "--temperature 0.0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"sizes": ()}, "--sizes"),
        ({"anchors": (0,)}, "--anchors"),
    ],
)
def test_values_out_of_range_are_refused(given: Any, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Recipe(**given)


def test_a_recipe_comes_back_from_json() -> None:
    recipe = Recipe(sizes=(64, 96), cut_after=4)
    assert recipe_of({**json.loads(json.dumps(asdict(recipe))), "of_a_later_version": 1}) == recipe


def test_identity_holds_what_decides_the_weights_and_not_the_test() -> None:
    config = DetectConfig(out="a", model=ModelSpec("RN50", "openai"), annotations="b", images="c")
    own = config.identity({"base": ["x"]}, "hash")
    elsewhere = replace(config, out="b", device="cpu", save_every=7, recipe=Recipe(objectness=True, proposals=10))
    assert elsewhere.identity({"base": ["x"]}, "hash") == own
    assert replace(config, seed=1).identity({"base": ["x"]}, "hash") != own
    assert replace(config, recipe=Recipe(lr=1.0)).identity({"base": ["x"]}, "hash") != own
    json.dumps(own)
    with pytest.raises(BadInput, match="--save-every 0"):
        replace(config, save_every=0)
