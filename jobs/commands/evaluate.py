"""`clipmine evaluate`."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from customize.clip.evaluate.config import PROTOCOLS, EvaluateConfig
from jobs.options import output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("models", nargs=-1)
@click.option("--task", "tasks", multiple=True, metavar="NAME|FILE", help="A task by name or file; several times.")
@click.option("--benchmark", metavar="NAME", help="All tasks of a benchmark (elevater: 20 sets).")
@click.option("--data", metavar="DIR|hf:NAME", help="Where the images are; DIR/TASK where DIR holds several sets.")
@click.option(
    "--protocol", "protocols", multiple=True, type=click.Choice(tuple(PROTOCOLS)), help="[default: the task's]"
)
@click.option(
    "--shots",
    multiple=True,
    default=[str(shots or "full") for shots in EvaluateConfig.shots],
    show_default=True,
    metavar="N|full",
    help="Training images a class.",
)
@click.option(
    "--share", "shares", multiple=True, type=float, help="Instead of --shots: a share of each class's labels, as 0.01."
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=len(EvaluateConfig.seeds),
    show_default=True,
    help="Number of seeds: 0, 1, 2, ...",
)
@click.option(
    "--start",
    type=click.Choice(["text", "zero-shot", "random"]),
    default=EvaluateConfig.start,
    show_default=True,
    help="First weights of the head: class names as in ELEVATER, the zero-shot classifier, or random.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs of the final training.  [default: 50]")
@click.option("--quick-search", is_flag=True, help="Search nine hyper-parameter settings instead of about eighty.")
@click.option("--lr", type=float, help="Use this learning rate instead of searching one.")
@click.option("--weight-decay", type=float, help="Weight decay for --lr.  [default: 0]")
@click.option("--allow-empty", is_flag=True, help="Accept classes without images.")
@click.option(
    "--self-training", type=click.IntRange(min=1), metavar="STEPS", help="Segmentation: also measure MaskCLIP+."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    default="fp32",
    show_default=True,
    help="Number format the models compute in.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=EvaluateConfig.batch_size,
    show_default=True,
    help="Images or texts encoded at once.",
)
@click.option("--device", help="cpu, cuda, ...  [default: the fastest available]")
@click.option("--out", metavar="DIR", default="evaluation", show_default=True, help="Folder for runs and tables.")
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
    weight_decay: float | None,
    precision: str,
    out: str,
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
            summary = _measure(models, tasks, shots, seeds, lr, weight_decay, precision, out, rest)
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
    weight_decay: float | None,
    precision: Any,
    out: str,
    rest: dict[str, Any],
) -> Any:
    from customize.clip.evaluate.evaluate import evaluate
    from index.encoder.model_spec import ModelSpec
    from index.errors import BadInput
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
    if rest["shares"] and click.get_current_context().get_parameter_source("shots") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--shots and --share contradict each other; give one of them")
    for text in shots:
        if text != "full" and not (text.isdigit() and int(text) > 0):
            raise BadInput(f"--shots {text}: give a number of images a class, or full")
    config = EvaluateConfig(
        models=tuple(specs),
        tasks=tasks,
        out=out,
        shots=tuple(None if text == "full" else int(text) for text in shots),
        seeds=tuple(range(seeds)),
        lr=lr,
        weight_decay=weight_decay,
        **rest,
    )
    with Progress("evaluate", unit="runs") as progress:
        return evaluate(config, progress.reach)
