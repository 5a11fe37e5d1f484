"""`clipmine detect`: a CLIP and boxes of base classes in, an open-vocabulary detector and its AP50 out."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import output_options, refuse_without_effect
from jobs.summary import Line, only_summary_on_stdout, print_summary

# Options that only a training reads.
_TRAINING = (
    "annotations",
    "images",
    "out",
    "steps",
    "batch_size",
    "optimizer",
    "lr",
    "weight_decay",
    "warmup",
    "sizes",
    "longest",
    "anchors",
    "cut_after",
    "frozen_stages",
    "boxes_per_image",
    "temperature",
    "zero_background",
    "seed",
    "save_every",
)


def _numbers(context: click.Context, option: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """640,800 as numbers."""
    if value is None:
        return None
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of numbers such as 640,800", context, option) from None


@click.command
@click.argument("model")
@click.option("--annotations", metavar="FILE", help="COCO's annotation file to train on.")
@click.option("--images", metavar="DIR", help="Its images: a folder, or one with tars.")
@click.option("--test-annotations", metavar="FILE", help="COCO's annotation file to measure on.")
@click.option("--test-images", metavar="DIR", help="Its images.")
@click.option(
    "--split",
    metavar="NAME|FILE",
    help="Base and novel classes: coco-48-17, or a JSON file.  [default: coco-48-17; of a detector: its own]",
)
@click.option("--out", metavar="DIR", help="Folder for the detector, its log, checkpoints and result.")
@click.option("--result", metavar="FILE", help="Where a detector's result goes.  [default: result.json beside it]")
@click.option("--steps", type=int, help="Number of training steps.  [default: 90000]")
@click.option("--batch-size", type=int, help="Images a step.  [default: 16]")
@click.option("--optimizer", type=click.Choice(["sgd", "adamw"]), help="[default: sgd, with a momentum of 0.9]")
@click.option("--lr", type=float, help="Peak learning rate.  [default: 0.002]")
@click.option("--weight-decay", type=float, help="[default: 1e-4]")
@click.option("--warmup", type=int, help="Warm-up steps.  [default: 5,000, or a tenth of the steps if that is less]")
@click.option(
    "--sizes",
    metavar="N,N",
    callback=_numbers,
    help="Pixels of an image's shorter side: one is drawn for each image, tests use the last.  [default: 640 to 800]",
)
@click.option("--longest", type=int, help="Pixels of an image's longer side, at most.  [default: 1333]")
@click.option("--anchors", metavar="N,N", callback=_numbers, help="Sides of anchor boxes.  [default: 32 to 512]")
@click.option(
    "--cut-after",
    type=click.Choice(["3", "4"]),
    help="Stage of the ResNet from whose grid boxes are cut.  [default: 3]",
)
@click.option("--frozen-stages", type=int, help="First stages that are not trained, with the stem.  [default: 2]")
@click.option("--boxes-per-image", type=int, help="Proposals of an image that are trained on.  [default: 512]")
@click.option("--temperature", type=float, help="What cosines with class names are divided by.  [default: 0.01]")
@click.option("--zero-background", is_flag=True, help="Keep the background's vector at zero, as RegionCLIP does.")
@click.option("--objectness", is_flag=True, help="In the test, multiply scores by the proposals' and take the root.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of all random choices.")
@click.option("--save-every", type=int, default=1000, show_default=True, help="Steps between checkpoints.")
@click.option("--device", help="cpu, cuda, mps.  [default: the fastest available]")
@output_options
def command(
    model: str,
    test_annotations: str | None,
    test_images: str | None,
    split: str | None,
    result: str | None,
    objectness: bool,
    device: str | None,
    as_json: bool,
    **training: Any,
) -> None:
    """Train a detector from MODEL on boxes of base classes, and measure it on base and novel ones.

    MODEL is a CLIP with a ResNet (RN50:openai, or a model folder), or the folder of a detector, which is then measured
    alone. Run again after an interruption, a training continues from its last checkpoint.
    """
    if (test_annotations is None) != (test_images is None):
        raise click.UsageError("--test-annotations and --test-images belong together; give both or none")
    if test_annotations is None:
        refuse_without_effect(["objectness", "result"], "without --test-annotations")
    with only_summary_on_stdout():
        from customize.clip.detect.folder import is_detector
        from jobs.detect_job import HeldOutBoxes, run_detect, run_detect_test

        test = None if test_annotations is None else HeldOutBoxes(test_annotations, str(test_images), split)
        if is_detector(model):
            refuse_without_effect(_TRAINING, "on a detector, which is only measured")
            if test is None:
                raise click.UsageError(f"{model} is a detector: give --test-annotations and --test-images")
            done = run_detect_test(model, test, device=device, objectness=objectness, result=result)
        else:
            refuse_without_effect(["result"], "on a training, whose result is in --out")
            missing = [name for name in ("annotations", "images", "out") if training[name] is None]
            if missing:
                raise click.UsageError(f"to train a detector, give --{' and --'.join(missing)}")
            done = run_detect(_config(model, split, device, training), test, objectness=objectness)
    lines: list[Line] = []
    if done.train is not None:
        lines += _of_training(done.train)
    if done.test is not None:
        for name in ("base", "novel", "all"):
            value = getattr(done.test, name)
            lines.append((f"AP50 {name}", "no boxes" if value is None else f"{100 * value:.1f}"))
        lines += [("- images", done.test.images), ("- boxes", done.test.boxes), ("- crowds", done.test.crowds)]
        lines.append(("result", str(done.result)))
    out = training["out"]
    next_step = None if done.test else f"clipmine detect {out} --test-annotations FILE --test-images DIR"
    print_summary(done, lines, as_json=as_json, next_step=next_step)


def _config(model: str, split: str | None, device: str | None, training: dict[str, Any]) -> Any:
    from customize.clip.detect.config import DetectConfig, Recipe
    from index.encoder.model_spec import ModelSpec

    name, colon, tag = model.partition(":")
    spec = ModelSpec(model_dir=model) if not colon or "/" in name else ModelSpec(name, tag)
    training = dict(training)
    of_run = {key: training.pop(key) for key in ("annotations", "images", "out", "seed", "save_every")}
    zero = training.pop("zero_background")
    chosen = {key: value for key, value in training.items() if value is not None}
    if "cut_after" in chosen:
        chosen["cut_after"] = int(chosen["cut_after"])
    recipe = Recipe(learned_background=not zero, **chosen)
    if split is not None:
        of_run["split"] = split
    return DetectConfig(model=spec, recipe=recipe, device=device, **of_run)


def _of_training(summary: Any) -> list[Line]:
    from jobs.progress import duration

    lines: list[Line] = [("classes", f"{summary.base} base, {summary.novel} novel"), ("images", summary.images)]
    lines += [(f"- left out: {reason}", count) for reason, count in summary.images_left_out.items()]
    lines.append(("boxes", summary.boxes))
    lines += [(f"- left out: {reason}", count) for reason, count in summary.left_out.items()]
    lines += [("trained weights", summary.trained), ("steps", summary.steps)]
    lines.append(("loss", f"{summary.first_loss:.4f} -> {summary.last_loss:.4f}"))
    lines.append(("time", duration(summary.seconds)))
    return lines
