"""Options that several commands share: the model, the executor, the form of the summary."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from jobs.executors import EXECUTORS

if TYPE_CHECKING:
    from index.model_spec import ModelSpec

F = TypeVar("F", bound=Callable[..., Any])


def output_options(function: F) -> F:
    """--json and --debug, which every command has."""
    function = click.option("--debug", is_flag=True, help="Show the trace of an error.", expose_value=False)(function)
    return click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, for machines.")(function)


def executor_options(function: F) -> F:
    """--executor and --workers."""
    function = click.option(
        "--workers", type=click.IntRange(min=1), help="How many items run at once.  [default: by cores or GPUs]"
    )(function)
    return click.option(
        "--executor",
        type=click.Choice(EXECUTORS),
        default="local",
        show_default=True,
        help="local: processes here; ray: RAY_ADDRESS or here; spark: spark-submit's master or here.",
    )(function)


def model_options(function: F) -> F:
    """--model, --pretrained, --model-dir, --random-weights and --precision, joined by `model_spec`."""
    options = [
        click.option("--model", metavar="NAME", help="A model of open_clip's registry, such as ViT-B-32."),
        click.option("--pretrained", metavar="TAG", help="Its weights, such as openai or laion2b_s34b_b79k."),
        click.option("--model-dir", metavar="DIR", help="A model folder: open_clip_config.json and safetensors."),
        click.option(
            "--random-weights", type=int, metavar="SEED", help="Random weights for --model: trials without a download."
        ),
        click.option(
            "--precision",
            type=click.Choice(["fp32", "fp16", "bf16"]),
            default="fp32",
            show_default=True,
            help="Of the model's arithmetic; embeddings are stored in fp16.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def model_spec(
    model: str | None,
    pretrained: str | None,
    model_dir: str | None,
    random_weights: int | None,
    precision: Literal["fp32", "fp16", "bf16"],
) -> ModelSpec | None:
    """The model that the options name; None when they name none. BadInput when they contradict each other."""
    if model is None and pretrained is None and model_dir is None and random_weights is None:
        return None
    from index.errors import BadInput
    from index.model_spec import ModelSpec

    if model is None and model_dir is None:
        raise BadInput("--pretrained and --random-weights say which weights --model has: name a --model too")
    return ModelSpec(model, pretrained, model_dir, random_weights, precision)
