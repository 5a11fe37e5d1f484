"""A configuration replaces the stage's values, and refuses what cannot be trained."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from customize.lmm.model.source import LmmSource
from customize.lmm.train.config import TuneConfig
from index.errors import BadInput


def config(**choices: Any) -> TuneConfig:
    return TuneConfig(**{"out": "out", "data": ("pairs",), "model": "llava", "stage": "cad", **choices})


def test_values_that_are_not_given_are_the_stages() -> None:
    recipe = config(lr=3e-4, batch_size=16).recipe
    assert (recipe.lr, recipe.projector_lr, recipe.batch_size, recipe.lora_rank) == (3e-4, 2e-5, 16, 128)


def test_the_projectors_rate_is_the_only_one_of_alignment() -> None:
    recipe = config(stage="align", lr=5e-3).recipe
    assert (recipe.lr, recipe.projector_lr) == (5e-3, 5e-3)


def test_a_linear_projector_chooses_the_first_llavas_values() -> None:
    source = LmmSource(vision_tower="clip", language_model="vicuna", projector_kind="linear")
    assert config(stage="align", model=source).recipe.batch_size == 128


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"data": ()}, "name one source of samples"),
        ({"out": ""}, "--out is empty"),
        ({"lr": 0.0}, "--lr 0.0: must be a number above 0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"batch_size": 0}, "--batch-size 0: must be at least 1"),
        ({"steps": 0}, "--steps 0"),
        ({"seed": -1}, "--seed -1: must be a whole number from 0 to 2,147,483,647"),
        ({"seed": 2**70}, "--seed 1180591620717411303424"),
        ({"warmup": 1.0}, "--warmup 1.0: must be a share"),
        ({"precision": "fp8"}, "--precision fp8: choose auto, fp32, bf16"),
        ({"tracker": "mlflow"}, "--tracker mlflow: choose tensorboard, wandb"),
        ({"train": "full", "export": "adapter"}, "makes no adapter"),
        ({"part_tokens": 0}, "--part-tokens 0"),
        ({"train": "head"}, "--train head: choose projector, lora, full"),
    ],
)
def test_what_cannot_be_trained_is_one_line(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        config(**choices)


def test_the_identity_is_of_what_decides_the_weights() -> None:
    own = config().identity({"language_model": "a"}, "data")
    same: list[dict[str, Any]] = [{"out": "other"}, {"loaders": 3}, {"part_tokens": 99}, {"tracker": print}]
    for choices in same:
        assert config(**choices).identity({"language_model": "a"}, "data") == own
    other: list[dict[str, Any]] = [{"lr": 1e-5}, {"seed": 1}, {"batching": "packed"}, {"steps": 3}, {"lora_rank": 4}]
    for choices in other:
        assert config(**choices).identity({"language_model": "a"}, "data") != own
    assert config().identity({"language_model": "b"}, "data") != own
    assert config().identity({"language_model": "a"}, "other") != own


def test_a_value_that_is_given_as_the_stage_has_it_is_the_same_run() -> None:
    given = replace(config(), lr=1e-4, batch_size=128)
    assert given.identity({}, "data") == config().identity({}, "data")


def test_steps_win_over_epochs() -> None:
    assert config(epochs=2.5).total_steps(10) == 25
    assert config(epochs=0.01).total_steps(10) == 1
    assert config(steps=7).total_steps(10) == 7


def test_numbers_count_as_equal_with_and_without_a_point() -> None:
    whole, point = (TuneConfig("out", ("data.json",), "model", "cad", lora_alpha=alpha, epochs=1) for alpha in (8, 8.0))
    assert json.dumps(whole.identity({}, "")) == json.dumps(point.identity({}, ""))
