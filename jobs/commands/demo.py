"""`clipmine demo`: the full pipeline on drawn scenes, or with --loop the loop of pairs and tuning."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import executor_options, output_options, refuse_without_effect
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.option("--out", metavar="DIR", help="Folder for everything that the demo makes.  [default: demo; --loop: loop]")
@click.option("--scenes", type=int, help="Number of drawn scenes in the corpus.  [default: 20,000; --loop: 4,000]")
@click.option(
    "--loop", is_flag=True, help="Instead: mine pairs, annotate them, tune a small LLaVA, annotate with it, tune again."
)
@click.option("--pairs", type=click.IntRange(min=1), help="--loop: pairs to mine.  [default: 4,000]")
@click.option("--seed", type=int, help="--loop: seed of all draws.  [default: 0]")
@executor_options("ray")
@output_options
def command(
    out: str | None,
    scenes: int | None,
    loop: bool,
    pairs: int | None,
    seed: int | None,
    executor: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Run the full pipeline on drawn scenes and write a report, DIR/report.html.

    Scenes -> store -> indexes -> selection -> export, image pairs, customized CLIP. --executor is where embedding runs;
    the other stages run in local processes. With --loop: pairs -> comparisons -> tuned LLaVA -> better comparisons ->
    tuned LLaVA, measured on held-out scenes, and DIR/loop.html.
    """
    if loop:
        sizes = {
            name: value for name, value in (("scenes", scenes), ("pairs", pairs), ("seed", seed)) if value is not None
        }
        _run_loop(out or "loop", sizes, executor, workers, as_json)
        return
    refuse_without_effect(["pairs", "seed"], "without --loop")
    with only_summary_on_stdout():
        from jobs.demo.run import run_demo
        from jobs.progress import duration

        summary = run_demo(
            out or "demo", scenes=20_000 if scenes is None else scenes, executor=executor, workers=workers
        )
    lines: list[Line] = [
        ("scenes drawn", summary.scenes),
        ("rows in the store", summary.rows),
        ("rows selected", summary.selected),
        ("images exported", summary.exported),
        ("pairs mined", summary.mined),
        ("zero-shot before", f"{summary.zero_shot_before:.1%}"),
        ("zero-shot after customizing", f"{summary.zero_shot_after:.1%}"),
    ]
    lines += [(f"time: {name}", duration(seconds)) for name, seconds in summary.stages.items()]
    lines += [("time in all", duration(summary.seconds)), ("look at", summary.report)]
    print_summary(summary, lines, as_json=as_json)


def _run_loop(out: str, sizes: dict[str, Any], executor: str, workers: int | None, as_json: bool) -> None:
    """Run the loop and print its figures: a line a figure, with a value for each model."""
    with only_summary_on_stdout():
        from jobs.demo.loop.run import run_loop
        from jobs.demo.loop.settings import LoopSettings
        from jobs.progress import duration

        summary = run_loop(out, LoopSettings(**sizes), executor=executor, workers=workers)
    names = list(summary.figures)
    lines: list[Line] = [("pairs mined", summary.pairs), ("models", ", ".join(names))]
    for figure in next(iter(summary.figures.values())):
        values = [summary.figures[name].get(figure) for name in names]
        lines.append((figure, ", ".join("-" if value is None else f"{value:.1%}" for value in values)))
    lines += [(f"time: {name}", duration(seconds)) for name, seconds in summary.stages.items()]
    lines += [("time in all", duration(summary.seconds)), ("look at", summary.page)]
    print_summary(summary, lines, as_json=as_json)
