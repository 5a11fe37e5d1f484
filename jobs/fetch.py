"""The fetch job: a selection's URLs downloaded, each concept topped up."""

from __future__ import annotations

from index.corpus.download import DownloadOptions
from jobs.progress import Progress
from retrieval.export.fetch import FetchSummary, fetch_selection


def run_fetch(
    selection: str, out: str, options: DownloadOptions | None = None, *, samples_per_shard: int = 10_000
) -> FetchSummary:
    """`retrieval.export.fetch.fetch_selection` with its progress on stderr."""
    with Progress("fetch", unit="shards") as progress:

        def report(number: int, done: int, shards: int) -> None:
            progress.label = f"fetch, round {number + 1}"
            progress.reach(done, shards)

        return fetch_selection(selection, out, options=options, samples_per_shard=samples_per_shard, on_progress=report)
