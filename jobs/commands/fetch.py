"""`clipmine fetch`."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import download_options, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("selection")
@click.option("--out", metavar="DIR", help="Folder for the tars.  [default: SELECTION-images]")
@click.option("--samples-per-shard", type=click.IntRange(min=1), default=10_000, show_default=True)
@download_options
@output_options
def command(selection: str, out: str | None, samples_per_shard: int, options: dict[str, Any], as_json: bool) -> None:
    """Download a SELECTION's URLs, join what arrived to its rows, and top up each concept from its next ranks.

    Run again, it tries again what failed for a passing reason.
    """
    with only_summary_on_stdout():
        from index.corpus.download import DownloadOptions
        from jobs.fetch import run_fetch

        target = out or f"{selection.rstrip('/')}-images"
        summary = run_fetch(selection, target, DownloadOptions(**options), samples_per_shard=samples_per_shard)
    lines: list[Line] = [("images asked for", summary.asked), ("+ from next ranks", summary.topped_up)]
    lines += [(f"- {reason}", count) for reason, count in summary.lost.items()]
    lines += [("images arrived", summary.arrived), ("rounds", summary.rounds)]
    if summary.short:
        named = ", ".join(f"{name} ({missing})" for name, missing in list(summary.short.items())[:5])
        lines.append(("concepts still short", f"{len(summary.short)}: {named}"))
    print_summary(summary, lines, as_json=as_json)
