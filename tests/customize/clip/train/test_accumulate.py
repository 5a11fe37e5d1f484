"""Batches in parts are refused where a part's features depend on the part; running statistics are of trained towers."""

from __future__ import annotations

from typing import Any

import pytest

from customize.clip.strategies import apply_strategy, set_training
from customize.clip.train.accumulate import check_accumulate, running_statistics
from customize.clip.train.distributed import Worker
from customize.clip.train.prepare import prepare_run
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from tests.customize.clip.tiny_models import RESNET, TIMM, VIT, clip
from tests.customize.clip.train.runs import config


def training(vision: dict[str, Any], strategy: str) -> Any:
    """A tiny model in the mode in which the strategy trains it."""
    model = clip(vision)
    set_training(model, apply_strategy(model, strategy).strategy)
    return model


@pytest.mark.parametrize("vision", [RESNET, {**VIT, "patch_dropout": 0.5}, {**TIMM, "timm_drop_path": 0.1}])
def test_a_trained_tower_with_batch_norm_or_dropout_cannot_be_computed_in_parts(vision: dict[str, Any]) -> None:
    model = training(vision, "locked-text")
    check_accumulate(model, 1)
    with pytest.raises(BadInput, match=r"--accumulate 2: visual\S+ of the model .*take a smaller --batch-size"):
        check_accumulate(model, 2)
    check_accumulate(training(vision, "locked-image"), 2)  # in evaluation mode neither changes anything


@pytest.mark.parametrize("vision", [VIT, {**VIT, "patch_dropout": 0.0}, TIMM])
def test_plain_transformers_can(vision: dict[str, Any]) -> None:
    check_accumulate(training(vision, "full"), 2)


def test_a_run_is_refused_before_it_begins(tiny_resnet: ModelSpec, small_export: str, tmp_path: Any) -> None:
    asked = config(tmp_path / "model", tars=small_export, model=tiny_resnet, strategy="full", accumulate=2)
    with pytest.raises(BadInput, match=r"BatchNorm2d\) normalises by the statistics"):
        prepare_run(asked, Worker())


def test_running_statistics_are_those_of_trained_towers() -> None:
    found = running_statistics(training(RESNET, "locked-text"))
    assert {name.rpartition(".")[2] for name in found} == {"running_mean", "running_var", "num_batches_tracked"}
    assert running_statistics(training(RESNET, "locked-image")) == {}
    assert running_statistics(training(VIT, "full")) == {}
