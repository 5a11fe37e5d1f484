"""`clipmine evaluate`."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from customize.clip.evaluate.config import PROTOCOLS, EvaluateConfig
from jobs.options import given, output_options, refuse_without_effect
from jobs.summary import Line, only_summary_on_stdout, print_summary

# The options that only one kind of model has.
_OF_CLIP = (
    "benchmark", "protocols", "shots", "shares", "seeds", "start", "epochs", "quick_search", "lr", "weight_decay",
    "allow_empty", "self_training", "train_list", "resolution", "window",
)  # fmt: skip
_OF_LMM = ("judge", "one_order", "limit", "max_new_tokens", "key_variable", "concurrency", "timeout")


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
    "--train-list",
    metavar="FILE",
    help="Instead of --shots: file names of the training images, as SimCLR's 1percent.txt.",
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
    "--resolution",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="Segmentation, regions: shorter side of the images.  [default: the task's; ResNets: 800 for regions]",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="Segmentation: go over images in windows of this side.",
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
@click.option("--judge", metavar="MODEL", help="Rates open answers from 0 to 5: a checkpoint, or openai:MODEL@URL.")
@click.option("--one-order", is_flag=True, help="Don't ask choices in the other order too; halves the work.")
@click.option("--limit", type=click.IntRange(min=1), help="The first so many questions of each task.")
@click.option("--max-new-tokens", type=click.IntRange(min=1), help="Limit of a reply.  [default: 256]")
@click.option("--key-variable", metavar="NAME", help="Environment variable with a server's key.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Most requests at a server at once.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Wait so long for a server's answer.")
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
    out: str,
    list_tasks: bool,
    concepts: str | None,
    as_json: bool,
    **rest: Any,
) -> None:
    """Measure MODELS on tasks; several models make one table.

    CLIP models are folders, or NAME:TAG of open_clip's registry. Multimodal language models are folders (checkpoints,
    adapters), Hugging Face names, or openai:MODEL@URL; their tasks are bison, svo, nlvr2, eqben, cola, cad-qa,
    cad-summaries, seed-image, seed-video, seed-video-1, NAME=FILE, or a file of questions (.json, .jsonl).

    Finished runs and replies are kept in --out and not measured again. The tables of models that answer questions have
    the results of all calls with this --out.
    """
    from customize.lmm.evaluate.tasks import TASKS, is_lmm_task

    asked = [name for name in tasks if is_lmm_task(name)]
    of_clip = [name for name in tasks if name not in asked]
    _refuse_unknown(of_clip)
    if asked and not (list_tasks or concepts):
        if of_clip or benchmark:
            others = ", ".join([*of_clip, *([f"--benchmark {benchmark}"] if benchmark else [])])
            raise click.UsageError(
                f"{', '.join(asked)}: asks models that answer questions; {others}: for CLIP models; run them apart"
            )
        refuse_without_effect(_OF_CLIP, "on tasks that ask a model questions")
        _evaluate_lmm(models, tasks, out, as_json, rest)
        return
    if models:
        refuse_without_effect(_OF_LMM, "on tasks of CLIP models")
    for name in _OF_LMM:
        del rest[name]
    with only_summary_on_stdout():
        from customize.clip.evaluate.task_files import benchmark_tasks, load_task, task_names, union_concepts

        if list_tasks:
            found = [load_task(name) for name in task_names()]
        else:
            tasks += tuple(task.name for task in benchmark_tasks(benchmark)) if benchmark else ()
            found = [load_task(name) for name in tasks]
        if not list_tasks and concepts is None:
            summary = _measure(models, tasks, shots, seeds, lr, weight_decay, out, rest)
    if list_tasks:
        about = {task.name: f"{task.kind}, {task.metric}, {len(task.classes)} classes: {task.title}" for task in found}
        about |= {task.name: f"questions: {task.title}" for task in TASKS.values()}
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
        if "train_set" in result:
            lines.append(("- trained on", result["train_set"]))
        if result.get("crowds"):
            lines.append(("- crowd boxes, ignored", result["crowds"]))
    lines.append(("tables", ", ".join(summary.files)))
    print_summary(summary, lines, as_json=as_json)


def _refuse_unknown(names: list[str]) -> None:
    """Raise BadInput for a task that neither kind of models has."""
    if not names:
        return
    from customize.clip.evaluate.task_files import task_names
    from customize.lmm.evaluate.tasks import TASKS
    from index.errors import BadInput

    known = task_names()
    for name in names:
        if name not in known and not name.endswith((".yaml", ".yml")):
            raise BadInput(
                f"no task {name!r:.100}: for models that answer questions, {', '.join(TASKS)}, NAME=FILE or a question "
                f"file (.json, .jsonl, .csv, .parquet); for CLIP models, {', '.join(known)} or a YAML file"
            )


def _measure(
    models: tuple[str, ...],
    tasks: tuple[str, ...],
    shots: tuple[str, ...],
    seeds: int,
    lr: float | None,
    weight_decay: float | None,
    out: str,
    rest: dict[str, Any],
) -> Any:
    from customize.clip.evaluate.evaluate import evaluate
    from index.encoder.model_spec import ModelSpec
    from index.errors import BadInput
    from jobs.progress import Progress

    precision = rest.pop("precision")
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
    if rest["train_list"] and click.get_current_context().get_parameter_source("shots") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--shots and --train-list contradict each other; give one of them")
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


def _evaluate_lmm(
    models: tuple[str, ...], tasks: tuple[str, ...], out: str, as_json: bool, rest: dict[str, Any]
) -> None:
    """Measure models that answer questions, and print the summary. Raises where none of them answered any."""
    if not any(name.startswith("openai:") for name in (*models, rest["judge"] or "")):
        refuse_without_effect(["key_variable", "concurrency", "timeout"], "without a server's model, openai:MODEL@URL")
    with only_summary_on_stdout():
        from customize.lmm.evaluate.evaluate import LmmEvaluateConfig
        from customize.lmm.evaluate.result_tables import shown_figure, unrated_replies
        from jobs.evaluate_lmm_job import ModelSettings, run_evaluate_lmm

        known = {name: rest[name] for name in ("limit", "max_new_tokens") if rest[name] is not None}
        config = LmmEvaluateConfig(tasks, out, rest["data"], swap=not rest["one_order"], **known)
        names = ("device", "precision", "batch_size", "key_variable", "concurrency", "timeout")
        # Both kinds of models have these options, with other defaults.
        set_by_user = {name: rest[name] for name in names if given([name])}
        summary = run_evaluate_lmm(models, config, rest["judge"], ModelSettings(**set_by_user))
    lines: list[Line] = []
    for result in summary.results:
        score = result.score
        lines += [(f"{result.model} {result.task}", f"{score.main} {shown_figure(score.figures[score.main])}")]
        tolerant = score.figures.get(f"{score.main}, tolerant")
        if tolerant is not None and tolerant.value != score.figures[score.main].value:
            lines.append(("- tolerant of wording", shown_figure(tolerant)))
        lines += [("- questions", score.questions), ("- answered", score.answered), ("- kept from before", result.kept)]
        lines += [(f"- {reason}", count) for reason, count in score.failures.items()]
        if score.not_understood:
            lines.append(("- not understood", f"{score.not_understood:,} of {score.answered:,}"))
        lines += [(f"- records left out: {reason}", count) for reason, count in score.skipped.items()]
        if score.without_answer:
            lines.append(("- without a right answer, not scored", score.without_answer))
        if result.unrated:
            lines.append(("- unrated", unrated_replies(result.unrated)))
        if result.error is not None:
            lines.append(("- the first without a reply", result.error))
        if "says A" in score.figures and score.figures["says A"].count:
            lines.append(("- says A", shown_figure(score.figures["says A"])))
        averaged = score.figures.get(f"{score.main}, orders averaged")
        if averaged is not None:
            lines.append(("- by probabilities, orders averaged", shown_figure(averaged)))
    lines.append(("tables", ", ".join(summary.files)))
    if summary.earlier:
        lines.append(("- with results of earlier calls", summary.earlier))
    print_summary(summary, lines, as_json=as_json)
    if not any(result.score.answered for result in summary.results):
        from index.errors import ClipmineError

        first = summary.results[0]
        raise ClipmineError(f"{out}: no question was answered ({first.error or ', '.join(first.score.failures)})")
