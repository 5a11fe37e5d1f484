"""`clipmine download`: a table of URLs and captions in, webdataset tars out."""

from __future__ import annotations

from typing import Any

import click

from jobs.options import download_options, output_options, shard_size_option
from jobs.summary import Line, only_summary_on_stdout, print_summary


@click.command
@click.argument("table")
@click.option("--out", required=True, metavar="DIR", help="Folder for the tars.")
@click.option("--url-column", default="url", show_default=True, help="Column with the URLs.")
@click.option("--caption-column", default="caption", show_default=True, help="Column with the captions.")
@click.option("--keep", "keep_columns", multiple=True, metavar="COLUMN", help="Copy this column into the json files.")
@shard_size_option("Images a tar.")
@click.option("--retry-failed", "retry", is_flag=True, help="Retry the rows that failed temporarily.")
@download_options
@output_options
def command(table: str, out: str, options: dict[str, Any], as_json: bool, **choices: Any) -> None:
    """Download a TABLE of URLs and captions (.parquet, .csv, .tsv; a file or a folder) into webdataset tars.

    Run again, it fetches only what is missing; with --retry-failed, failed rows as well, into new tars.
    """
    with only_summary_on_stdout():
        from index.corpus.download import DownloadOptions
        from jobs.download_job import run_download

        summary = run_download(table, out, DownloadOptions(**options), **choices)
    lines: list[Line] = [("rows in the table", summary.rows)]
    lines += [(f"- {reason}", count) for reason, count in summary.failed.items()]
    lines += [("images downloaded", summary.downloaded), ("tars", summary.shards)]
    if summary.retryable:
        lines.append(("failed temporarily", summary.retryable))
    next_step = f"clipmine embed {out} --out STORE --model NAME --pretrained TAG"
    print_summary(summary, lines, as_json=as_json, next_step=next_step if summary.downloaded else None)
