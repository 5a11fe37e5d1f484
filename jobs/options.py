"""Options that several commands share (model, executor, download, summary), and options that have former names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from index.encoder.model_spec import ModelSpec

# Options of `embed` that a store keeps: run again without them, they are those that it was begun with.
KEPT_OPTIONS = (
    "batch_size",
    "shard_size",
    "caption_pattern",
    "caption_index",
    "allow_empty_caption",
    "key_rule",
    "image_ext",
    "caption_ext",
    "caption_field",
    "caption_encoding",
)

F = TypeVar("F", bound=Callable[..., Any])

# The executors of `jobs.executors.execute`, and where each of them runs.
EXECUTOR_PLACES = {
    "local": "processes of this machine",
    "ray": "the cluster at RAY_ADDRESS, or a Ray started here",
    "spark": "the master of spark-submit, or a Spark started here",
}


class RenamedOption(click.Option):
    """An option that also answers to its former names, which help and messages do not show.

    former: each former name -> None (its values are the option's own), a mapping from its values to the option's, or,
    for a former flag, the value that the flag stands for.
    """

    def __init__(
        self, *arguments: Any, former: Mapping[str, Mapping[str, str] | str | None], **attributes: Any
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.former = former

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        super().add_to_parser(parser, ctx)
        for name, meaning in self.former.items():
            if isinstance(meaning, str):
                parser.add_option(self, [name], dest=name, action="store_const", nargs=0, const=meaning)
            else:
                parser.add_option(self, [name], dest=name, action="store")

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        values = dict(opts)
        for name, meaning in self.former.items():
            if name not in values:
                continue
            if self.name in values:
                raise click.UsageError(f"{name} is the former name of {self.opts[0]}: give one of them", ctx)
            value = values[name]
            values[str(self.name)] = meaning.get(value, value) if isinstance(meaning, Mapping) else value
        return super().consume_value(ctx, values)


def given(names: Sequence[str]) -> list[str]:
    """Which parameters of the running command, of those named, the user gave: as the user writes them."""
    context = click.get_current_context()
    return [
        parameter.opts[0] if isinstance(parameter, click.Option) else parameter.human_readable_name
        for parameter in context.command.params
        if parameter.name in names and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]


def refuse_without_effect(names: Sequence[str], why: str) -> None:
    """UsageError when the user gave one of the parameters `names`, all of which the command would ignore."""
    found = given(names)
    if found:
        raise click.UsageError(f"{' and '.join(found)} would have no effect {why}", click.get_current_context())


def output_options(function: F) -> F:
    """--json and --debug, which every command has."""
    function = click.option("--debug", is_flag=True, help="Show the trace of an error.", expose_value=False)(function)
    return click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, for machines.")(function)


def executor_option(
    executors: Sequence[str] = tuple(EXECUTOR_PLACES),
    default: str = "local",
    former: Mapping[str, Mapping[str, str] | str | None] | None = None,
) -> Callable[[F], F]:
    """--executor, with the executors that the command has and where each of them runs."""
    return click.option(
        "--executor",
        cls=RenamedOption,
        former=former or {},
        type=click.Choice(executors),
        default=default,
        show_default=True,
        help="; ".join(f"{name}: {EXECUTOR_PLACES[name]}" for name in executors) + ".",
    )


def executor_options(default: str = "local") -> Callable[[F], F]:
    """--executor and --workers, of the jobs that run on all three executors."""
    executor = executor_option(default=default)
    workers = click.option(
        "--workers", type=click.IntRange(min=1), help="Items that run at once.  [default: by cores or GPUs]"
    )
    return lambda function: executor(workers(function))


def shard_size_option(help: str) -> Callable[[F], F]:
    """--shard-size, formerly --samples-per-shard where it cuts tars."""
    return click.option(
        "--shard-size",
        cls=RenamedOption,
        former={"--samples-per-shard": None},
        type=click.IntRange(min=1),
        default=10_000,
        show_default=True,
        help=help,
    )


def columns_option(function: F) -> F:
    """--columns, as a tuple of names."""
    return click.option(
        "--columns",
        metavar="NAME,NAME",
        callback=lambda context, option, value: tuple(name.strip() for name in value.split(",")) if value else (),
        help="Names of the columns of a CSV or TSV file without a header, in their order: caption,url.",
    )(function)


def which_model_options(function: F) -> F:
    """--model, --pretrained, --model-dir and --random-weights, joined by `model_spec`."""
    options = [
        click.option("--model", metavar="NAME", help="A model of open_clip's registry, such as ViT-B-32."),
        click.option("--pretrained", metavar="TAG", help="Weights of --model, such as openai or laion2b_s34b_b79k."),
        click.option("--model-dir", metavar="DIR", help="A model folder: open_clip_config.json and safetensors."),
        click.option(
            "--random-weights", type=int, metavar="SEED", help="Random weights for --model: trials without a download."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def model_options(function: F) -> F:
    """The options of `which_model_options`, and --precision."""
    precision = click.option(
        "--precision",
        type=click.Choice(["fp32", "fp16", "bf16"]),
        default="fp32",
        show_default=True,
        help="Number format the model computes in; embeddings are stored in fp16.",
    )
    return which_model_options(precision(function))


def download_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How to fetch, as one argument `options`: the fields of `index.corpus.download.DownloadOptions` by name.

    UsageError for --resize-mode without --image-size.
    """
    names = ["threads", "timeout", "response_timeout", "max_bytes", "max_wait", "retries", "image_size", "resize_mode"]
    names.append("user_agent_token")

    @functools.wraps(function)
    def gathered(executor: str, workers: int, **arguments: Any) -> Any:
        if arguments["image_size"] is None:
            refuse_without_effect(["resize_mode"], "without --image-size")
        options = {name: arguments.pop(name) for name in names}
        options |= {"processes": workers, "distributor": "ray" if executor == "ray" else "multiprocessing"}
        return function(options=options, **arguments)

    options = [
        executor_option(("local", "ray"), former={"--distributor": {"multiprocessing": "local"}}),
        click.option(
            "--workers",
            cls=RenamedOption,
            former={"--processes": None},
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Processes that download.",
        ),
        click.option("--threads", type=int, default=64, show_default=True, help="Downloads at once in each process."),
        click.option("--timeout", type=int, default=10, show_default=True, help="Seconds without an answer."),
        click.option(
            "--response-timeout", type=int, help="Seconds for a whole response.  [default: 5 times --timeout]"
        ),
        click.option(
            "--max-bytes", type=int, default=50_000_000, show_default=True, help="Bytes of a response; more: too_large."
        ),
        click.option(
            "--max-wait",
            type=int,
            default=30,
            show_default=True,
            help="Most seconds to wait for a server that asks for it (Retry-After).",
        ),
        click.option("--retries", type=int, default=0, show_default=True, help="Immediate retries of a failed URL."),
        click.option("--user-agent-token", metavar="NAME", help="Your name, for servers and their X-Robots-Tag rules."),
        click.option("--image-size", type=int, help="Resize to this many pixels.  [default: keep the bytes]"),
        click.option(
            "--resize-mode",
            type=click.Choice(["keep_ratio", "keep_ratio_largest", "center_crop", "border"]),
            default="keep_ratio",
            show_default=True,
            help="How --image-size resizes: shorter side, longer side, crop, or pad with a border.",
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
        raise BadInput("--pretrained and --random-weights choose the weights of --model: name a --model too")
    return ModelSpec(model, pretrained, model_dir, random_weights, precision)
