"""`clipmine customize`: a selection or tars in, a customized CLIP out."""

from __future__ import annotations

from typing import Any

import click

from customize.clip.train.config import CustomizeConfig
from jobs.options import (
    RenamedOption,
    executor_option,
    model_spec,
    output_options,
    refuse_without_effect,
    which_model_options,
)
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
    default=CustomizeConfig.strategy,
    show_default=True,
    help="Which weights are trained.",
)
@click.option("--gated-blocks", type=int, metavar="N", help="Gated blocks, before the last N blocks.  [default: 6]")
@click.option("--epochs", type=float, default=CustomizeConfig.epochs, show_default=True, help="Passes over the pairs.")
@click.option("--steps", type=int, help="Number of training steps, instead of --epochs.")
@click.option(
    "--batch-size",
    cls=RenamedOption,
    former={"--batch": None},
    type=int,
    default=CustomizeConfig.batch_size,
    show_default=True,
    help="Pairs a step, over all workers.",
)
@click.option(
    "--accumulate",
    type=int,
    default=CustomizeConfig.accumulate,
    show_default=True,
    help="Compute a worker's share of a batch in this many parts, to save memory.",
)
@click.option(
    "--lr",
    type=float,
    help="Peak learning rate: of the gated blocks in a gated strategy, else of all that is trained.  "
    "[default: 5e-4 for gated strategies, else 5e-5]",
)
@click.option(
    "--lr-alpha",
    type=float,
    help="Peak learning rate of the gates' alphas.  [default: that of --lr, as in REACT's released trainer]",
)
@click.option(
    "--lr-base",
    type=float,
    help="Peak learning rate of what a gated strategy trains beside gated blocks: logit_scale; in gated-both also "
    "embeddings, outer norms and projections.  [default: that of --lr; in gated-both at most 5e-5]",
)
@click.option(
    "--weight-decay",
    type=float,
    default=CustomizeConfig.weight_decay,
    show_default=True,
    help="AdamW's weight decay.",
)
@click.option("--warmup", type=int, help="Warm-up steps.  [default: 5,000, or a tenth of the steps if that is less]")
@click.option("--grad-clip", type=float, help="Largest norm of the gradient.  [default: no limit]")
@click.option(
    "--gamma",
    type=float,
    default=CustomizeConfig.gamma,
    show_default=True,
    help="Text cosine from which two pairs count as positives of each other; 1: equal texts only.",
)
@click.option("--plain-clip", is_flag=True, help="CLIP's own loss, as for retrieval, without gamma.")
@click.option(
    "--augment",
    type=click.Choice(["auto", "released", "mild", "none"]),
    default=CustomizeConfig.augment,
    show_default=True,
    help="Image augmentation: that of REACT's released trainer (made for millions of pairs), crops of 0.9 to 1 of the "
    "area, or none. auto: none below 100,000 pairs, mild below a million, else released.",
)
@click.option(
    "--hold-out",
    type=int,
    metavar="N",
    help="Pairs that are not trained on, by which the model is measured before and after; 0: none.  "
    "[default: 5% of a selection's pairs, at most 2,000, none if fewer than 20; none of --tars]",
)
@click.option(
    "--cache-prefix/--no-cache-prefix",
    default=CustomizeConfig.cache_prefix,
    help="Cache the activations of the frozen blocks (needs --augment none).  [default: where it fits and saves time]",
)
@click.option("--grad-checkpoint", is_flag=True, help="Save memory by recomputing activations in the backward pass.")
@click.option("--ema", type=float, metavar="DECAY", help="Save an exponential moving average, such as 0.9999.")
@click.option("--seed", type=int, default=CustomizeConfig.seed, show_default=True, help="Seed of all random choices.")
@click.option(
    "--save-every", type=int, default=CustomizeConfig.save_every, show_default=True, help="Steps between checkpoints."
)
@click.option("--loaders", type=int, help="Processes a worker that decode images.  [default: by cores]")
@click.option("--device", help="cpu, cuda, mps.  [default: the fastest available]")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default=CustomizeConfig.precision,
    show_default=True,
    help="Number format of the computation; auto: bf16 on CUDA, else fp32. Weights stay fp32.",
)
@executor_option(("local", "ray"))
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Workers of Ray Train, with --executor ray.  [default: one a GPU, or 1]",
)
@which_model_options
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
    """Customize CLIP on the pairs of SELECTION, retrieved from STORE; or on the pairs of --tars.

    Training starts from the store's own model unless another is named. Run again after an interruption, it continues
    from the last checkpoint. MODEL_DIR is a model folder of open_clip; without gated blocks plain open_clip loads it.
    """
    if rest["tars"] is None and (store is None or selection is None):
        raise click.UsageError("customize on what? give STORE and SELECTION, or --tars DIR")
    if rest["tars"] is not None and selection is not None:
        raise click.UsageError("--tars and a SELECTION contradict each other; give one of them")
    if plain_clip:
        refuse_without_effect(["gamma"], "with --plain-clip")
    if rest["steps"] is not None:
        refuse_without_effect(["epochs"], "with --steps")
    naming = {name: rest.pop(name) for name in ("model", "pretrained", "model_dir", "random_weights")}
    spec = model_spec(**naming, precision="fp32")
    with only_summary_on_stdout():
        from jobs.customize_job import run_customize
        from jobs.progress import duration

        config = CustomizeConfig(
            store=store,
            selection=selection,
            model=spec,
            gamma=None if plain_clip else gamma,
            **rest,
        )
        summary = run_customize(config, executor=executor, workers=workers)
    lines: list[Line] = [
        ("pairs", summary.pairs),
        ("distinct texts", summary.texts_distinct),
        *[(f"- left out: {reason}", count) for reason, count in summary.left_out.items()],
        *[(f"trains: {group}", count) for group, count in summary.trainable.items()],
        ("objective", summary.objective),
        ("steps", summary.steps),
        ("images from", summary.images),
        ("texts from", summary.texts),
    ]
    if summary.first_loss is not None and summary.last_loss is not None:
        lines.append(("loss", f"{summary.first_loss:.4f} -> {summary.last_loss:.4f}"))
        lines.append(("pairs/s", f"{summary.pairs_per_second:,.1f}"))
    if summary.augment is not None:
        lines.append(("augmentation", summary.augment))
    worse = None
    if summary.held_out is not None:
        lines += summary.held_out.lines()
        worse = summary.held_out.warning()
    lines.append(("time", duration(summary.seconds)))
    print_summary(summary, lines, as_json=as_json, next_step=f"clipmine evaluate {summary.out} --task ...")
    if worse is not None and not as_json:
        click.echo(worse)
