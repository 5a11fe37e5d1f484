"""Options of an evaluation that contradict each other are refused in one line."""

from __future__ import annotations

from typing import Any

import pytest

from customize.clip.evaluate.config import PROTOCOLS, EvaluateConfig
from customize.clip.evaluate.task_files import KINDS
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput


def config(**choices: Any) -> EvaluateConfig:
    asked: dict[str, Any] = {"models": (("tiny", ModelSpec(model_dir="tiny")),), "tasks": ("dtd",), "out": "out"}
    return EvaluateConfig(**{**asked, **choices})


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"models": ()}, "name at least one model and one --task"),
        ({"tasks": ()}, "name at least one model and one --task"),
        ({"weight_decay": 0.1}, "--weight-decay 0.1: needs --lr"),
        ({"lr": 0.1, "quick_search": True}, "--quick-search: with --lr 0.1 nothing is searched"),
    ],
)
def test_what_would_be_ignored_is_refused(choices: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        config(**choices)


def test_a_learning_rate_goes_with_and_without_a_weight_decay() -> None:
    assert config(lr=0.1).weight_decay is None
    assert config(lr=0.1, weight_decay=0.0).weight_decay == 0.0


def test_every_kind_of_task_has_a_protocol() -> None:
    assert set(PROTOCOLS.values()) == set(KINDS)
