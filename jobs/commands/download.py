"""`clipmine download`."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import download_options, output_options
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("table")
@click.option("--out", required=True, metavar="DIR", help="Folder for the tars.")
@click.option("--url-column", default="url", show_default=True)
@click.option("--caption-column", default="caption", show_default=True)
@click.option("--keep", "keep_columns", multiple=True, metavar="COLUMN", help="Travels into each sample's json.")
@click.option("--shard-size", type=click.IntRange(min=1), default=10_000, show_default=True, help="Images a tar.")
@click.option("--retry-failed", "retry", is_flag=True, help="Try again what failed for a passing reason.")
@download_options
@output_options
def command(table: str, out: str, options: dict[str, Any], as_json: bool, **choices: Any) -> None:
    """Download a TABLE of URLs and captions (.parquet, .csv, .tsv; a file or a folder) into webdataset tars.

    Run again it fetches only what is missing; with --retry-failed, failed rows as well, into new tars.
    """
    with only_summary_on_stdout():
        from index.corpus.download import DownloadOptions
        from jobs.download_job import run_download

        summary = run_download(table, out, DownloadOptions(**options), **choices)
    lines: list[Line] = [("rows in the table", summary.rows)]
    lines += [(f"- {reason}", count) for reason, count in summary.failed.items()]
    lines += [("images downloaded", summary.downloaded), ("tars", summary.shards)]
    if summary.retryable:
        lines.append(("worth another try", summary.retryable))
    next_step = f"clipmine embed {out} --out STORE --model NAME --pretrained TAG"
    print_summary(summary, lines, as_json=as_json, next_step=next_step if summary.downloaded else None)
