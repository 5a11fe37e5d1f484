"""A configuration is checked when it is made, and its identity has the names that earlier versions wrote."""

from __future__ import annotations

from typing import Any

import pytest

from customize.clip.train.config import CustomizeConfig
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput


def config(**choices: Any) -> CustomizeConfig:
    return CustomizeConfig(**{"out": "model", "selection": "selection", **choices})


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"selection": None}, "customize on what"),
        ({"tars": "tars"}, "one of the two"),
        ({"batch_size": 1}, "--batch-size 1: a contrastive loss compares the pairs of a batch"),
        ({"accumulate": 3}, "--accumulate 3: must divide the batch of 256"),
        ({"lr": 0.0}, "--lr 0.0: all learning rates are 0"),
        ({"lr": 0.0, "lr_alpha": 0.0, "lr_base": 0.0}, "all learning rates are 0, so nothing would be learned"),
        ({"lr": 0.0, "strategy": "gated-both"}, "all learning rates are 0"),
        ({"lr": -1.0}, "--lr -1.0: must be 0 or more"),
        ({"lr_alpha": float("nan")}, "--lr-alpha nan: must be 0 or more"),
        ({"lr_base": 1e-4, "strategy": "full"}, "--lr-base: strategy full adds no gated blocks"),
        ({"steps": 0}, "--steps 0: must be at least 1"),
        ({"save_every": 0}, "--save-every 0: must be at least 1"),
        ({"warmup": -1}, "--warmup -1: must be 0 or more"),
        ({"gamma": 1.1}, "--gamma 1.1: must be a cosine"),
        ({"hold_out": -1}, "--hold-out -1: must be 0 or more"),
        ({"ema": 1.0}, "--ema 1.0: must be a decay between 0 and 1"),
        ({"augment": "flip"}, "--augment flip: choose auto, released, mild or none"),
        ({"precision": "fp16"}, "--precision fp16: choose auto, fp32 or bf16"),
        ({"cache_prefix": True, "augment": "mild"}, "--cache-prefix: augmented images cannot be cached"),
    ],
)
def test_a_wrong_value_is_named(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        config(**choices)


def test_the_learning_rate_is_the_released_one_for_the_kind_of_strategy() -> None:
    rates = {name: config(strategy=name).peak_lr() for name in ("locked-text-gated-image", "locked-text", "full")}
    assert rates == {"locked-text-gated-image": 5e-4, "locked-text": 5e-5, "full": 5e-5}
    assert config(lr=1e-3).peak_lr() == 1e-3


def test_groups_of_weights_have_their_own_rates() -> None:
    assert config().rates() == {"gated": 5e-4, "alpha": 5e-4, "base": 5e-4}  # the released trainer's single rate
    assert config(lr=0.0, lr_alpha=2e-2).rates() == {"gated": 0.0, "alpha": 2e-2, "base": 0.0}
    both = config(strategy="gated-both", lr=4e-3)
    assert both.rates() == {"gated": 4e-3, "alpha": 4e-3, "base": 5e-5}
    assert config(strategy="gated-both", lr=1e-5).rates()["base"] == 1e-5
    assert config(strategy="gated-both", lr_base=1e-3).rates()["base"] == 1e-3
    assert config(strategy="full", lr=1e-3).rates() == {"base": 1e-3}


def test_the_groups_rates_are_of_the_identity() -> None:
    spec = ModelSpec("ViT-B-32", "openai")
    plain = config(lr=1e-3).identity(spec, "data")
    assert config(lr=1e-3, lr_alpha=1e-3).identity(spec, "data") == plain
    assert config(lr=1e-3, lr_alpha=1e-2).identity(spec, "data") == {**plain, "lr_alpha": 1e-2}
    assert config(lr=1e-3, lr_base=0).identity(spec, "data") == {**plain, "lr_base": 0.0}


def test_epochs_and_warm_up_become_steps() -> None:
    asked = config(batch_size=8, epochs=2.5)
    assert asked.total_steps(33) == 10
    assert config(batch_size=8, steps=3).total_steps(33) == 3
    with pytest.raises(BadInput, match="--batch-size 8: is more than the 7 pairs there are; use 7 at most"):
        asked.total_steps(7)
    assert [asked.warmup_steps(total) for total in (10, 1_000_000)] == [1, 5_000]
    assert config(warmup=0).warmup_steps(100) == 0


def test_the_identity_is_that_of_earlier_versions() -> None:
    """Runs that were started before must resume: names and values are compared by hash."""
    found = config(batch_size=8).identity(ModelSpec("ViT-B-32", "openai"), "data")
    del found["model"]
    assert found == {
        "strategy": "locked-text-gated-image",
        "gated_blocks": None,
        "epochs": 32,
        "steps": None,
        "batch": 8,
        "accumulate": 1,
        "lr": None,
        "betas": [0.9, 0.98],
        "eps": 1e-6,
        "weight_decay": 0.1,
        "warmup": None,
        "grad_clip": None,
        "gamma": 0.9,
        "augment": "auto",
        "precision": "auto",
        "ema": None,
        "seed": 0,
        "data": "data",
    }


@pytest.mark.parametrize("choice", [{"device": "cuda"}, {"loaders": 3}, {"save_every": 7}, {"grad_checkpoint": True}])
def test_speed_and_place_do_not_change_the_identity(choice: dict[str, Any]) -> None:
    spec = ModelSpec("ViT-B-32", "openai")
    assert config(**choice).identity(spec, "data") == config().identity(spec, "data")
    assert config(seed=1).identity(spec, "data") != config().identity(spec, "data")
