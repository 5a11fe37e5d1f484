"""`clipmine fetch`: a selection's URLs downloaded into tars, each concept topped up from its next ranks."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import download_options, output_options, shard_size_option
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("selection")
@click.option("--out", metavar="DIR", help="Folder for the tars.  [default: SELECTION-images]")
@shard_size_option("Images a tar.")
@download_options
@output_options
def command(selection: str, out: str | None, shard_size: int, options: dict[str, Any], as_json: bool) -> None:
    """Download a SELECTION's URLs, join the images to its rows, and top up each concept from its next ranks.

    Run again, it retries the URLs that failed temporarily.
    """
    with only_summary_on_stdout():
        from index.corpus.download import DownloadOptions
        from index.outputs import only_writer
        from jobs.progress import Progress
        from retrieval.export.fetch import fetch_selection

        with Progress("fetch", unit="shards") as progress:

            def report(number: int, done: int, shards: int) -> None:
                progress.label = f"fetch, round {number + 1}"
                progress.reach(done, shards)

            target = out or f"{selection.rstrip('/')}-images"
            with only_writer(target):
                summary = fetch_selection(
                    selection,
                    target,
                    options=DownloadOptions(**options),
                    shard_size=shard_size,
                    on_progress=report,
                )
    lines: list[Line] = [("images asked for", summary.asked), ("+ from next ranks", summary.topped_up)]
    lines += [(f"- {reason}", count) for reason, count in summary.lost.items()]
    lines += [("images arrived", summary.arrived), ("rounds", summary.rounds)]
    if summary.short:
        named = ", ".join(f"{name} ({missing})" for name, missing in list(summary.short.items())[:5])
        lines.append(("concepts still short", f"{len(summary.short)}: {named}"))
    print_summary(summary, lines, as_json=as_json)
