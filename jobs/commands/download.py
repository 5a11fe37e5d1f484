"""`clipmine download`: a table of URLs and captions in, webdataset tars out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jobs.options import columns_option, download_options, output_options, shard_size_option
from jobs.summary import Line, only_summary_on_stdout, print_summary

if TYPE_CHECKING:
    from index.corpus.download import DownloadSummary


@click.command
@click.argument("table")
@click.option("--out", required=True, metavar="DIR", help="Folder for the tars.")
@click.option("--url-column", default="url", show_default=True, help="Column with the URLs.")
@click.option("--caption-column", default="caption", show_default=True, help="Column with the captions.")
@columns_option
@click.option("--keep", "keep_columns", multiple=True, metavar="COLUMN", help="Copy this column into the json files.")
@shard_size_option("Images a tar.")
@click.option("--retry-failed", "retry", is_flag=True, help="Retry the rows that failed temporarily.")
@download_options
@output_options
def command(table: str, out: str, options: dict[str, Any], as_json: bool, retry: bool, **choices: Any) -> int:
    """Download a TABLE of URLs and captions (.parquet, .csv, .tsv; a file or a folder) into webdataset tars.

    Run again, it fetches only what is missing; with --retry-failed, failed rows as well, into new tars. The exit status
    is 1 where no image arrived.
    """
    with only_summary_on_stdout():
        from index.corpus.download import DownloadOptions
        from jobs.download_job import retry_command, run_download

        chosen = DownloadOptions(**options)
        summary = run_download(table, out, chosen, retry=retry, **choices)
        again = retry_command(table, out, chosen, **choices)
    next_step = f"clipmine embed {out} --out STORE --model NAME --pretrained TAG"
    if not summary.downloaded:
        next_step = again if summary.retryable else ""
    print_summary(summary, download_lines(summary, again), as_json=as_json, next_step=next_step)
    return 0 if summary.downloaded else 1


def download_lines(summary: DownloadSummary, again: str) -> list[Line]:
    """Lines that account for all rows of a table; `again`: the command that retries those that failed temporarily."""
    lines: list[Line] = [("rows in the table", summary.rows)]
    lines += [(f"- {reason}", count) for reason, count in summary.failed.items()]
    lines += [("images downloaded", summary.downloaded), ("tars", summary.shards)]
    if summary.retryable:
        lines.append(("failed temporarily", summary.retryable))
        if summary.downloaded:  # else it is the next step
            lines.append(("to try them again", again))
    return lines
