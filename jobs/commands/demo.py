"""`clipmine demo`: the full pipeline on drawn scenes."""

from __future__ import annotations

import click

from jobs.options import executor_options, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.option(
    "--out", default="demo", show_default=True, metavar="DIR", help="Folder for everything that the demo makes."
)
@click.option("--scenes", type=int, default=20_000, show_default=True, help="Number of drawn scenes in the corpus.")
@executor_options("ray")
@output_options
def command(out: str, scenes: int, executor: str, workers: int | None, as_json: bool) -> None:
    """Run the full pipeline on drawn scenes and write a report, DIR/report.html.

    Scenes -> store -> indexes -> selection -> export, image pairs, customized CLIP. --executor is where embedding runs;
    the other stages run in local processes.
    """
    with only_summary_on_stdout():
        from jobs.demo.run import run_demo
        from jobs.progress import duration

        summary = run_demo(out, scenes=scenes, executor=executor, workers=workers)
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
