"""The download job: a table of URLs and captions in, webdataset tars out, through img2dataset."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from index.corpus.download import DownloadOptions, DownloadSummary, download_table, retry_failed
from index.corpus.table_rows import is_table
from index.corpus.url_table import FOLDER
from index.errors import BadInput
from index.files import join
from index.lease import only_writer
from jobs.progress import Progress

__all__ = ["download_corpus", "download_images", "is_table", "retry_command", "run_download"]


# Fields of `DownloadOptions` that are options of the command by the same name.
_REPEATED = (
    *("threads", "timeout", "response_timeout", "max_bytes", "max_wait", "retries", "image_size", "resize_mode"),
    "user_agent_token",
)


def run_download(
    table: str,
    out: str,
    options: DownloadOptions | None = None,
    *,
    url_column: str = "url",
    caption_column: str = "caption",
    keep_columns: Sequence[str] = (),
    shard_size: int = 10_000,
    columns: Sequence[str] = (),
    retry: bool = False,
) -> DownloadSummary:
    """Fetch the images that the table lists and `out` lacks; with `retry`, then those that failed temporarily.

    Raises what `index.corpus.download.download_table` raises.
    """
    with only_writer(join(out, FOLDER)), Progress("download", unit="shards") as progress:
        summary = download_table(
            table,
            out,
            options,
            url_col=url_column,
            caption_col=caption_column,
            keep_columns=keep_columns,
            shard_size=shard_size,
            columns=columns,
            progress=progress.reach,
        )
    if not retry or not summary.retryable:
        return summary
    with only_writer(join(out, FOLDER)), Progress("retry", unit="shards") as progress:
        return retry_failed(out, options, progress=progress.reach)


def retry_command(table: str, out: str, options: DownloadOptions | None = None, **choices: Any) -> str:
    """The command that tries the rows again that failed temporarily; `choices` are those of `run_download`."""
    given: list[tuple[str, Any, Any]] = [("--url-column", choices.get("url_column", "url"), "url")]
    given.append(("--caption-column", choices.get("caption_column", "caption"), "caption"))
    given += [("--keep", column, None) for column in choices.get("keep_columns", ())]
    given.append(("--columns", ",".join(choices.get("columns", ())), ""))
    given.append(("--shard-size", choices.get("shard_size", 10_000), 10_000))
    usual, options = DownloadOptions(), options or DownloadOptions()
    if options.distributor == "ray":
        given.append(("--executor", "ray", None))
    given.append(("--workers", options.processes, usual.processes))
    given += [(f"--{name.replace('_', '-')}", getattr(options, name), getattr(usual, name)) for name in _REPEATED]
    words = [word for name, value, default in given if value != default for word in (name, str(value))]
    return shlex.join(["clipmine", "download", table, "--out", out, *words, "--retry-failed"])


def download_images(table: str, folder: str, **choices: Any) -> DownloadSummary:
    """Download a table into `folder`, a corpus to embed, with the `choices` of `run_download`.

    BadInput when no image arrived.
    """
    summary = run_download(table, folder, **choices)
    if not summary.downloaded:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.failed.items())
        advice = f"; to try them again: {retry_command(table, folder, **choices)}" if summary.retryable else ""
        raise BadInput(f"{table}: none of its {summary.rows:,} images could be downloaded ({reasons}){advice}")
    return summary


def download_corpus(
    table: str, folder: str, *, url_column: str = "url", caption_column: str = "caption", shard_size: int = 10_000
) -> str:
    """`download_images`, for the folder alone."""
    download_images(table, folder, url_column=url_column, caption_column=caption_column, shard_size=shard_size)
    return folder
