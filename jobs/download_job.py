"""The download job: a table of URLs and captions in, webdataset tars out, through img2dataset."""

from __future__ import annotations

from collections.abc import Sequence

from index.corpus.download import DownloadOptions, DownloadSummary, download_table, retry_failed
from index.errors import BadInput
from jobs.progress import Progress

TABLE_SUFFIXES = (".parquet", ".csv", ".tsv")


def is_table(source: str) -> bool:
    """Whether a source is a table of URLs, by the end of its name."""
    return source.lower().endswith(TABLE_SUFFIXES)


def run_download(
    table: str,
    out: str,
    options: DownloadOptions | None = None,
    *,
    url_column: str = "url",
    caption_column: str = "caption",
    keep_columns: Sequence[str] = (),
    shard_size: int = 10_000,
    retry: bool = False,
) -> DownloadSummary:
    """Fetch the images that the table lists and `out` lacks; with `retry`, then those that failed temporarily.

    Raises what `index.corpus.download.download_table` raises.
    """
    with Progress("download", unit="shards") as progress:
        summary = download_table(
            table,
            out,
            options,
            url_col=url_column,
            caption_col=caption_column,
            keep_columns=keep_columns,
            shard_size=shard_size,
            progress=progress.reach,
        )
    if not retry or not summary.retryable:
        return summary
    with Progress("retry", unit="shards") as progress:
        return retry_failed(out, options, progress=progress.reach)


def download_corpus(
    table: str, folder: str, *, url_column: str = "url", caption_column: str = "caption", shard_size: int = 10_000
) -> str:
    """Download a table into `folder` and return the folder, a corpus to embed; BadInput when no image arrived."""
    summary = run_download(table, folder, url_column=url_column, caption_column=caption_column, shard_size=shard_size)
    if not summary.downloaded:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.failed.items())
        raise BadInput(f"{table}: none of its {summary.rows} images could be downloaded ({reasons})")
    return folder
