"""`clipmine customize`."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import model_options, model_spec, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary

# The names of customize.clip.strategies.STRATEGIES, which loads torch.
STRATEGIES = ("none", "locked-image", "locked-text", "full", "gated-text", "locked-text-gated-image", "gated-both")


@click.command
@click.argument("store", required=False)
@click.argument("selection", required=False)
@click.option("--tars", metavar="DIR", help="Instead of STORE SELECTION: an export, or any webdataset tars.")
@click.option("--out", required=True, metavar="MODEL_DIR", help="Folder for the model, its log and checkpoints.")
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    default="locked-text-gated-image",
    show_default=True,
    help="What trains.",
)
@click.option("--gated-blocks", type=int, metavar="N", help="Gated blocks, before the last N blocks.  [default: 6]")
@click.option("--epochs", type=float, default=32, show_default=True, help="Passes over the pairs.")
@click.option("--steps", type=int, help="Steps, instead of epochs.")
@click.option("--batch", type=int, default=256, show_default=True, help="Pairs a step, over all workers.")
@click.option("--accumulate", type=int, default=1, show_default=True, help="Parts a worker computes its share in.")
@click.option("--lr", type=float, help="Of the peak.  [default: 5e-4 for gated strategies, else 5e-5]")
@click.option("--weight-decay", type=float, default=0.1, show_default=True)
@click.option("--warmup", type=int, help="Steps.  [default: 5,000, or a tenth of all where that is less]")
@click.option("--grad-clip", type=float, help="Largest norm of the gradient.")
@click.option(
    "--gamma",
    type=float,
    default=0.9,
    show_default=True,
    help="Cosine from which two texts count as one; 1: equal ones.",
)
@click.option("--plain-clip", is_flag=True, help="CLIP's own loss, as for retrieval; no gamma.")
@click.option(
    "--augment", type=click.Choice(["released", "none"]), default="released", show_default=True, help="Of the images."
)
@click.option(
    "--cache-prefix/--no-cache-prefix",
    default=None,
    help="Keep what the frozen blocks make of an image (with --augment none).  [default: where it fits and pays]",
)
@click.option("--grad-checkpoint", is_flag=True, help="Less memory, a forward pass more.")
@click.option("--ema", type=float, metavar="DECAY", help="Save an exponential moving average, such as 0.9999.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--save-every", type=int, default=500, show_default=True, help="Steps between checkpoints.")
@click.option("--loaders", type=int, help="Processes that decode images, a worker.  [default: by cores]")
@click.option("--device", help="cpu, cuda, mps.  [default: the fastest that is there]")
@click.option(
    "--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="ray: several workers."
)
@click.option("--workers", type=click.IntRange(min=1), help="Of Ray Train.  [default: one a GPU, or one]")
@model_options
@output_options
def command(
    store: str | None,
    selection: str | None,
    plain_clip: bool,
    gamma: float,
    executor: str,
    workers: int | None,
    as_json: bool,
    **rest: Any,
) -> None:
    """Customize CLIP on what was retrieved: from STORE, the pairs of SELECTION; or from --tars.

    The model is the store's own unless one is named. A run that was interrupted goes on when it is started again. The
    model's folder is open_clip's; without gated blocks plain open_clip loads it.
    """
    if rest["tars"] is None and (store is None or selection is None):
        raise click.UsageError("customize on what? give STORE and SELECTION, or --tars DIR")
    if rest["tars"] is not None and selection is not None:
        raise click.UsageError("--tars and a SELECTION contradict each other; give one of them")
    naming = {name: rest.pop(name) for name in ("model", "pretrained", "model_dir", "random_weights")}
    precision = rest.pop("precision")
    spec = model_spec(**naming, precision="fp32")
    with only_summary_on_stdout():
        from customize.clip.train.config import CustomizeConfig
        from jobs.customize_job import run_customize
        from jobs.progress import duration

        config = CustomizeConfig(
            store=store,
            selection=selection,
            model=spec,
            gamma=None if plain_clip else gamma,
            precision=_precision(precision),
            **rest,
        )
        summary = run_customize(config, executor=executor, workers=workers)
    lines: list[Line] = [
        ("pairs", summary.pairs),
        ("distinct texts", summary.texts_distinct),
        *[(f"- left out: {reason}", count) for reason, count in summary.left_out.items()],
        *[(f"trains: {group}", count) for group, count in summary.trainable.items()],
        ("steps", summary.steps),
        ("images from", summary.images),
        ("texts from", summary.texts),
    ]
    if summary.first_loss is not None and summary.last_loss is not None:
        lines.append(("loss", f"{summary.first_loss:.4f} -> {summary.last_loss:.4f}"))
        lines.append(("pairs/s", f"{summary.pairs_per_second:,.1f}"))
    lines.append(("time", duration(summary.seconds)))
    # A customized model is another one than the store's: its vectors are made anew.
    print_summary(summary, lines, as_json=as_json, next_step=f"clipmine evaluate {summary.out} --task ...")


def _precision(named: str) -> Any:
    from index.errors import BadInput

    if named == "fp16":
        raise BadInput("--precision fp16: its gradients underflow; train in bf16 or fp32")
    context = click.get_current_context()
    source = context.get_parameter_source("precision")
    return named if source is click.core.ParameterSource.COMMANDLINE else "auto"
