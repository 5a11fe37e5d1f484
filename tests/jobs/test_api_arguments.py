"""Arguments of the Python functions as the values of configurations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from jobs.api_arguments import config_of, model_of, paths_of, texts_of


@dataclass(frozen=True)
class Config:
    out: str
    steps: int = 1
    seed: int = 0


def test_one_value_or_several_become_several() -> None:
    assert texts_of("a") == ("a",)
    assert texts_of(["a", "b"]) == ("a", "b")
    assert paths_of(Path("a")) == ("a",)
    assert paths_of(["a", Path("b")]) == ("a", "b")


def test_a_model_is_named_in_one_of_three_ways_or_not_at_all() -> None:
    spec = ModelSpec("ViT-B-32", "openai")
    assert model_of(None, None, None) is None
    assert model_of(spec, None, None) is spec
    assert model_of("ViT-B-32", "openai", None) == spec
    assert model_of(None, None, Path("folder")) == ModelSpec(model_dir="folder")


def test_an_unknown_option_lists_those_that_are_left() -> None:
    assert config_of(Config, {"steps": 5}, out="o") == Config("o", 5)
    with pytest.raises(BadInput, match="unknown option stesp, out: choose from steps, seed"):
        config_of(Config, {"stesp": 5, "out": "p"}, **{"out": "o"})
