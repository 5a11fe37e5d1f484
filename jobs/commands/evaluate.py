"""`clipmine evaluate`."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary

_PROTOCOLS = ("zeroshot", "linear-probe", "finetune", "retrieval", "segmentation", "regions")


@click.command
@click.argument("models", nargs=-1)
@click.option("--task", "tasks", multiple=True, metavar="NAME|FILE", help="A task by name or file; several times.")
@click.option("--benchmark", metavar="NAME", help="All tasks of a benchmark (elevater: 20 sets).")
@click.option("--data", metavar="DIR|hf:NAME", help="Where the images are; DIR/TASK where DIR holds several sets.")
@click.option("--protocol", "protocols", multiple=True, type=click.Choice(_PROTOCOLS), help="[default: the task's]")
@click.option("--shots", multiple=True, default=["5"], show_default=True, metavar="N|full", help="Images a class.")
@click.option("--share", "shares", multiple=True, type=float, help="A share of each class's labels instead: 0.01.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How many: 0, 1, 2, ...")
@click.option(
    "--start",
    type=click.Choice(["text", "zero-shot", "random"]),
    default="text",
    show_default=True,
    help="Of the head: from class names as ELEVATER does, as the zero-shot classifier, or random.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Of the last training run.  [default: 50]")
@click.option("--quick-search", is_flag=True, help="Nine settings instead of about eighty.")
@click.option("--lr", type=float, help="Use this learning rate, search nothing.")
@click.option("--weight-decay", type=float, default=0.0, show_default=True, help="Goes with --lr.")
@click.option("--allow-empty", is_flag=True, help="Classes without images are fine.")
@click.option("--self-training", type=click.IntRange(min=1), help="Segmentation: MaskCLIP+'s steps as well.")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "bf16"]), default="fp32", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--device", help="cpu, cuda, ...  [default: the fastest there is]")
@click.option("--out", metavar="DIR", help="Folder for runs and tables.  [default: evaluation]")
@click.option("--list-tasks", is_flag=True, help="List the task files that come with it and stop.")
@click.option("--concepts", metavar="FILE", help="Write the tasks' classes as one concept list to retrieve with; stop.")
@output_options
def command(
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    benchmark: str | None,
    shots: tuple[str, ...],
    seeds: int,
    lr: float | None,
    weight_decay: float,
    precision: str,
    out: str | None,
    list_tasks: bool,
    concepts: str | None,
    as_json: bool,
    **rest: Any,
) -> None:
    """Measure MODELS: folders, or NAME:TAG of open_clip's registry, on tasks. Several models make one table.

    Finished runs are kept in --out and not measured again.
    """
    with only_summary_on_stdout():
        from customize.clip.evaluate.task_files import benchmark_tasks, load_task, task_names, union_concepts

        if list_tasks:
            found = [load_task(name) for name in task_names()]
        else:
            tasks += tuple(task.name for task in benchmark_tasks(benchmark)) if benchmark else ()
            found = [load_task(name) for name in tasks]
        if not list_tasks and concepts is None:
            summary = _measure(models, tasks, shots, seeds, lr, weight_decay, precision, out or "evaluation", rest)
    if list_tasks:
        about = {task.name: f"{task.kind}, {task.metric}, {len(task.classes)} classes: {task.title}" for task in found}
        print_summary(about, list(about.items()), as_json=as_json)
        return
    if concepts is not None:
        from index.files import write_atomic

        if not found:
            raise click.UsageError("--concepts of which tasks? name a --task or a --benchmark")
        write_atomic(concepts, union_concepts(found))
        next_step = f"clipmine retrieve STORE --concepts {concepts} --out SELECTION"
        print_summary({"concepts": concepts}, [("concept list", concepts)], as_json=as_json, next_step=next_step)
        return
    lines: list[Line] = [("runs", summary.runs), ("- measured before", summary.reused)]
    for result in summary.results:
        shown = ", ".join(f"{name} {100 * value:.1f}" for name, value in (result.get("columns") or {}).items())
        shown = shown or f"{result['metric']} {100 * result['score']:.1f}"
        lines.append((f"{result['model']} {result['task']} {result['setting']}", shown))
    lines.append(("tables", ", ".join(summary.files)))
    print_summary(summary, lines, as_json=as_json)


def _measure(
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    shots: tuple[str, ...],
    seeds: int,
    lr: float | None,
    weight_decay: float,
    precision: Any,
    out: str,
    rest: dict[str, Any],
) -> Any:
    from index.encoder.model_spec import ModelSpec
    from index.errors import BadInput
    from jobs.evaluate_job import EvaluateConfig, run_evaluate
    from jobs.progress import Progress

    specs = []
    for name in models:
        registered, colon, tag = name.partition(":")
        folder = not colon or "/" in name
        spec = (
            ModelSpec(model_dir=name, precision=precision)
            if folder
            else ModelSpec(registered, tag, precision=precision)
        )
        specs.append((name.rstrip("/"), spec))
    for text in shots:
        if text != "full" and not (text.isdigit() and int(text) > 0):
            raise BadInput(f"--shots {text}: give a number of images a class, or full")
    config = EvaluateConfig(
        models=tuple(specs),
        tasks=tasks,
        out=out,
        shots=tuple(None if text == "full" else int(text) for text in shots),
        seeds=tuple(range(seeds)),
        settings=(lr, weight_decay) if lr is not None else None,
        **rest,
    )
    with Progress("evaluate", unit="runs") as progress:
        return run_evaluate(config, progress.reach)
