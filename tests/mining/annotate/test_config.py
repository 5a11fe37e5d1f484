"""The options of a run of annotation."""

from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from mining.annotate.config import AnnotateConfig


def test_plain_options_are_sorted_into_their_places() -> None:
    config = AnnotateConfig.of(
        "pairs",
        kind="choice",
        annotator="openai",
        base_url="http://h/v1",
        model="m",
        strategy="similar",
        shard="2/8",
        max_cost=1.5,
        price_in=1,
    )
    assert (config.choice.strategy, config.choice.shard) == (("similar",), (2, 8))
    assert (config.limits.max_cost, config.limits.price_in, config.kind) == (1.5, 1, "choice")
    with pytest.raises(BadInput, match=r"unknown option limits_of, modle: choose from kind, .*strategy.*max_cost"):
        AnnotateConfig.of("pairs", limits_of=3, modle="m")


def test_the_part_is_named_by_kind_and_model_unless_the_user_names_it() -> None:
    config = AnnotateConfig.of("pairs", annotator="transformers", model="mistralai/Mixtral 8x7B:free", shard="1/4")
    assert config.part == "comparison-Mixtral-8x7B-free-1-of-4"
    assert config.folder == "pairs/annotations/comparison-Mixtral-8x7B-free-1-of-4.run"
    assert config.answers == "pairs/annotations/answers"
    assert AnnotateConfig.of("pairs").part == "comparison-captions"
    seen = {"annotator": "transformers", "model": "x/llava", "from_images": True}
    assert AnnotateConfig.of("pairs", **seen).part == "comparison-images-llava"
    refined = AnnotateConfig.of("pairs", **seen, refine="comparison/mixtral", as_trained=True)
    assert refined.part == "comparison-images-refined-comparison-mixtral-as-trained-llava"
    assert AnnotateConfig.of("pairs", name="phase-1").part == "phase-1"
    assert AnnotateConfig.of("pairs", annotator="transformers", model="m", cache="/answers").answers == "/answers"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annotator": "vllm"}, "choose one of openai, transformers, captions"),
        ({"annotator": "openai"}, "--annotator openai needs --model NAME"),
        ({"model": "m"}, "it takes no model"),
        (
            {"annotator": "transformers", "model": "m", "base_url": "http://"},
            "--base-url: of --annotator openai, not of transf",
        ),
        ({"annotator": "openai", "model": "m"}, "--annotator openai needs --base-url URL"),
        ({"device": "cuda", "batch_size": 4}, "--device, --batch-size: of --annotator transformers, not of captions"),
        ({"name": "../x"}, "--name '../x': letters"),
        ({"name": "x" * 81}, "up to 80"),
        ({"max_new_tokens": 0}, "--max-new-tokens must be at least 1, not 0"),
        ({"temperature": float("nan")}, "--temperature must be at least 0, not nan"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"max_cost": 1}, "--max-cost needs --price-in"),
        (
            {"moved": "images", "cache": "answers", "temperature": 0.5, "max_requests": 3},
            "--cache, --temperature, --images, --max-requests: --annotator captions asks no model; leave it out",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        AnnotateConfig.of("pairs", **options)
