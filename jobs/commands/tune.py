"""`clipmine tune`: samples and a multimodal model in, a tuned model out."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

from customize.lmm.data.source_spec import OPTIONS
from customize.lmm.train.config import TRACKERS, TuneConfig
from customize.lmm.train.stages import STAGES
from jobs.options import executor_option, output_options, refuse_without_effect
from jobs.summary import Line, only_summary_on_stdout, print_summary

if TYPE_CHECKING:
    from customize.lmm.train.summary import TuneSummary


_GPUS = "RTX-4090, L40S, A100-40GB, A100-80GB, H100, H200"
# The \b keeps click from joining the lines.
_SOURCES = "\b\nOptions of a source, as in --data pairs:2,cad=choice,split=train:\n" + "\n".join(
    line
    for name, meaning in OPTIONS.items()
    for line in textwrap.wrap(f"{name:<10} {meaning}", 76, initial_indent="  ", subsequent_indent=" " * 13)
)


@click.command(epilog=_SOURCES)
@click.option(
    "--stage",
    type=click.Choice(tuple(STAGES)),
    required=True,
    help="align: the projector, on captions; instruct, cad: the language model and the projector.",
)
@click.option(
    "--data",
    "data",
    multiple=True,
    required=True,
    metavar="PLACE[:WEIGHT][,OPTION=VALUE...]",
    help="A source of samples: image sets, tars, LLaVA's JSON, CaD-Inst, TRL's messages. Repeat it for a mixture. "
    "OPTION: see below.",
)
@click.option(
    "--out",
    required=True,
    metavar="MODEL_DIR",
    help="Folder for the model, its log and checkpoints. An adapter on --vision-tower and --language-model comes with "
    "their joined weights, in MODEL_DIR/base.",
)
@click.option("--model", metavar="NAME|DIR", help="A checkpoint of the LLaVA family.")
@click.option("--vision-tower", metavar="NAME|DIR", help="Instead of --model, with --language-model.")
@click.option("--language-model", metavar="NAME|DIR", help="Instead of --model, with --vision-tower.")
@click.option("--projector", metavar="FILE", help="Weights of the projector, such as LLaVA's mm_projector.bin.")
@click.option(
    "--projector-kind",
    type=click.Choice(["mlp2x_gelu", "linear"]),
    default="mlp2x_gelu",
    show_default=True,
    help="Of a new projector: LLaVA-1.5's, or LLaVA's.",
)
@click.option("--adapter", metavar="DIR", help="A LoRA adapter of the model, to train further.")
@click.option("--lora/--full", "lora", default=None, help="Train adapters, or all weights of the language model.")
@click.option("--lora-rank", type=int, help="Rank of the adapters.  [default: 128]")
@click.option("--lora-alpha", type=float, help="Scale of the adapters times their rank.  [default: 256]")
@click.option("--lora-dropout", type=float, help="Dropout before the adapters.  [default: 0.05]")
@click.option("--template", help="Format of the prompt: vicuna_v1, plain, own, ...  [default: by stage and model]")
@click.option("--lr", type=float, help="Peak learning rate.  [default: by stage]")
@click.option("--projector-lr", type=float, help="Peak learning rate of the projector.  [default: by stage]")
@click.option("--batch-size", type=int, help="Samples a step, over all workers.  [default: 256 for align, else 128]")
@click.option("--epochs", type=float, help="Passes over the mixture.  [default: 1]")
@click.option("--steps", type=int, help="Number of training steps, instead of --epochs.")
@click.option("--warmup", type=float, help="Share of the steps in which the learning rate rises.  [default: 0.03]")
@click.option("--weight-decay", type=float, help="AdamW's weight decay, of matrices.  [default: 0]")
@click.option("--grad-clip", type=float, help="Largest norm of the gradient; 0: no limit.  [default: 1]")
@click.option("--max-length", type=int, help="Most tokens of a sample, images included.  [default: 2048]")
@click.option(
    "--batching",
    type=click.Choice(["length", "packed", "random"]),
    default=TuneConfig.batching,
    show_default=True,
    help="Samples of one length together; several in a row without padding; or neither.",
)
@click.option(
    "--weigh",
    type=click.Choice(["tokens", "square", "answers"]),
    default=TuneConfig.weigh,
    show_default=True,
    help="What counts the same in the loss: tokens, or answers however long; square is between the two.",
)
@click.option("--part-tokens", type=int, help="Most tokens that a worker computes at once.  [default: by device]")
@click.option(
    "--cache-features/--no-cache-features",
    default=TuneConfig.cache_features,
    help="Keep the vision tower's features of each image.  [default: where they fit and save time]",
)
@click.option("--features", metavar="DIR", help="Folder of these features, which runs may share.")
@click.option("--grad-checkpoint", is_flag=True, help="Save memory by recomputing activations in the backward pass.")
@click.option("--seed", type=int, default=TuneConfig.seed, show_default=True, help="Seed of all random choices.")
@click.option(
    "--save-every", type=int, default=TuneConfig.save_every, show_default=True, help="Steps between checkpoints."
)
@click.option("--tracker", type=click.Choice(TRACKERS), help="Where figures go beside the log.")
@click.option("--generate-on", metavar="SOURCE", help="Held-out samples that the model answers while it trains.")
@click.option(
    "--generate-every", type=int, default=TuneConfig.generate_every, show_default=True, help="Steps between answers."
)
@click.option(
    "--generate-count", type=int, default=TuneConfig.generate_count, show_default=True, help="Samples it answers."
)
@click.option(
    "--generate-tokens", type=int, default=TuneConfig.generate_tokens, show_default=True, help="Most of an answer."
)
@click.option(
    "--export",
    type=click.Choice(["adapter", "merged", "both", "projector"]),
    help="What is written.  [default: the adapter after --lora, else the merged model]",
)
@click.option("--loaders", type=int, help="Threads that read images.  [default: by cores]")
@click.option("--device", help="cpu, cuda, mps.  [default: the fastest available]")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default=TuneConfig.precision,
    show_default=True,
    help="Of the computation; auto: bf16 on CUDA, else fp32. Trained weights stay fp32.",
)
@executor_option(("local", "ray"))
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Workers of Ray Train, with --executor ray.  [default: one a GPU, or 1]",
)
@click.option("--shard-model", is_flag=True, help="Share the weights out among the workers (FSDP).")
@click.option(
    "--plan", metavar="GPU[:NUMBER]", help=f"Print memory and hours on such GPUs (A100-80GB:4) and stop. GPU: {_GPUS}."
)
@output_options
def command(
    model: str | None,
    vision_tower: str | None,
    language_model: str | None,
    projector: str | None,
    projector_kind: Any,
    adapter: str | None,
    lora: bool | None,
    executor: str,
    workers: int | None,
    plan: str | None,
    as_json: bool,
    **rest: Any,
) -> None:
    """Tune a multimodal model of the LLaVA family on a mixture of samples.

    Each stage has the values of its paper, and each may be replaced. Run again after an interruption, it continues from
    the last checkpoint.
    """
    from customize.lmm.model.source import LmmSource

    if rest["steps"] is not None:
        refuse_without_effect(["epochs"], "with --steps")
    if rest["generate_on"] is None:
        refuse_without_effect(["generate_every", "generate_count", "generate_tokens"], "without --generate-on")
    source = LmmSource(model, vision_tower, language_model, projector, projector_kind, adapter)
    rest["data"] = tuple(rest["data"])
    train = None if lora is None else ("lora" if lora else "full")
    config = TuneConfig(model=source, train=train, **rest)  # type: ignore[arg-type]
    if config.recipe.train != "lora":
        refuse_without_effect(["lora_rank", "lora_alpha", "lora_dropout"], "without adapters")
    if plan is not None:
        _plan(config, plan, as_json)
        return
    with only_summary_on_stdout():
        from jobs.progress import duration
        from jobs.tune_job import run_tune

        summary = run_tune(config, executor=executor, workers=workers)
    lines = _lines(summary)
    lines.append(("time", duration(summary.seconds)))
    print_summary(summary, lines, as_json=as_json, next_step=f"clipmine evaluate {summary.out} --task ...")


def _lines(summary: TuneSummary) -> list[Line]:
    """The summary for people; the numbers of each source, and those of the steps, add up."""
    lines: list[Line] = []
    for name, own in summary.sources.items():
        lines += [(f"{name}: samples", own.samples)]
        lines += [(f"- left out: {reason}", count) for reason, count in own.left_out.items()]
        lines += [("- usable", own.usable), ("- taken", own.taken)]
    lines += [("samples taken", summary.taken)]
    if summary.unreadable:
        lines += [("- left out: an image that cannot be read", summary.unreadable)]
    lines += [("samples trained", summary.trained), ("steps", summary.steps)]
    lines += [(f"trains: {part}", count) for part, count in summary.trainable.items()]
    lines += [("images from", summary.images)]
    if summary.first_loss is not None and summary.last_loss is not None:
        lines.append(("loss", f"{summary.first_loss:.4f} -> {summary.last_loss:.4f}"))
        lines.append(("samples/s", f"{summary.samples_per_second:,.1f}"))
    lines += [(what, place) for what, place in summary.exported.items()]
    return lines


def _plan(config: TuneConfig, gpus: str, as_json: bool) -> None:
    with only_summary_on_stdout():
        from jobs.tune_plan import parse_hardware, plan_lines, plan_run

        planned = plan_run(config, parse_hardware(gpus))
    print_summary(planned, plan_lines(planned), as_json=as_json)
