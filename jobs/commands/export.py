"""`clipmine export`."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import executor_options, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("selection")
@click.option("--out", required=True, metavar="DIR", help="Folder for the tars or the list.")
@click.option("--format", type=click.Choice(["webdataset", "urls", "csv"]), default="webdataset", show_default=True)
@click.option("--samples-per-shard", type=click.IntRange(min=1), default=10_000, show_default=True)
@click.option("--store", metavar="STORE", help="The selection's store, where it was moved.")
@executor_options()
@output_options
def command(as_json: bool, **choices: Any) -> None:
    """Write a SELECTION as webdataset tars in img2dataset's shape, or as a URL list that img2dataset downloads."""
    with only_summary_on_stdout():
        from jobs.export_job import run_export

        summary = run_export(**choices)
    lines: list[Line] = [("rows selected", summary.asked)]
    lines += [(f"- {reason}", count) for reason, count in summary.left_out.items()]
    lines += [("rows exported", summary.exported), ("written to", summary.out)]
    lines += [("left out", name) for name in summary.named]
    print_summary(summary, lines, as_json=as_json)
