"""Options that several commands share: the model, the executor, the form of the summary."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from jobs.executors.execute import EXECUTORS

if TYPE_CHECKING:
    from index.encoder.model_spec import ModelSpec

F = TypeVar("F", bound=Callable[..., Any])


def output_options(function: F) -> F:
    """--json and --debug, which every command has."""
    function = click.option("--debug", is_flag=True, help="Show the trace of an error.", expose_value=False)(function)
    return click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, for machines.")(function)


def executor_options(default: str = "local") -> Callable[[F], F]:
    """--executor and --workers."""
    executor = click.option(
        "--executor",
        type=click.Choice(EXECUTORS),
        default=default,
        show_default=True,
        help="local: processes here; ray: RAY_ADDRESS or here; spark: spark-submit's master or here.",
    )
    workers = click.option(
        "--workers", type=click.IntRange(min=1), help="How many items run at once.  [default: by cores or GPUs]"
    )
    return lambda function: executor(workers(function))


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


def download_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How to fetch, as one argument `options`: the fields of `index.corpus.download.DownloadOptions` by name."""
    names = ("processes", "threads", "timeout", "retries", "image_size", "resize_mode", "distributor")

    @functools.wraps(function)
    def gathered(**arguments: Any) -> Any:
        return function(options={name: arguments.pop(name) for name in names}, **arguments)

    options = [
        click.option("--processes", type=int, default=1, show_default=True, help="Of img2dataset."),
        click.option("--threads", type=int, default=64, show_default=True, help="Of each process."),
        click.option("--timeout", type=int, default=10, show_default=True, help="Seconds to wait for a server."),
        click.option("--retries", type=int, default=0, show_default=True, help="At once, in the same run."),
        click.option("--image-size", type=int, help="Resize to this; by default bytes are kept as they came."),
        click.option(
            "--resize-mode",
            type=click.Choice(["keep_ratio", "keep_ratio_largest", "center_crop", "border"]),
            default="keep_ratio",
            show_default=True,
        ),
        click.option(
            "--distributor",
            type=click.Choice(["multiprocessing", "ray"]),
            default="multiprocessing",
            show_default=True,
            help="img2dataset's own: processes here, or RAY_ADDRESS.",
        ),
    ]
    for option in reversed(options):
        gathered = option(gathered)
    return gathered


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
    from index.encoder.model_spec import ModelSpec
    from index.errors import BadInput

    if model is None and model_dir is None:
        raise BadInput("--pretrained and --random-weights say which weights --model has: name a --model too")
    return ModelSpec(model, pretrained, model_dir, random_weights, precision)
