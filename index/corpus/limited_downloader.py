"""img2dataset's downloader with our own fetching: limits for a whole response, URLs as browsers ask, waiting as asked.

img2dataset gives each shard to its `Downloader`, in whatever process a distributor chose, and this finds its fetching
function in its module. `LimitedDownloader` puts ours there before each shard, so nothing of img2dataset is changed on
disk. Imports img2dataset, so it is for the process around img2dataset and its workers only.
"""

from __future__ import annotations

import io
from typing import Any

from img2dataset import downloader

from index.corpus.download_status import PERMANENT, failure_reason
from index.corpus.fetch_image import FetchFailed, FetchLimits, fetch_image
from index.corpus.host_pauses import HostPauses

__all__ = ["LimitedDownloader"]

Fetched = tuple[int, io.BytesIO | None, str | None]  # number of the row in its shard, image, why there is none


class LimitedDownloader(downloader.Downloader):  # type: ignore[misc]  # img2dataset has no types
    """`settings` are those of img2dataset's downloader."""

    def __init__(self, limits: FetchLimits, **settings: Any) -> None:
        super().__init__(**settings)
        self.limits = limits

    def download_shard(self, row: Any) -> None:
        """Fetch one shard; img2dataset's docstring says what `row` is."""
        pauses = HostPauses(self.limits.max_wait)

        def fetch(row: tuple[int, str], **_: Any) -> Fetched:
            return self._fetch(row, pauses)

        downloader.download_image_with_retry = fetch
        super().download_shard(row)

    def _fetch(self, row: tuple[int, str], pauses: HostPauses) -> Fetched:
        number, url = row
        message = ""
        for _ in range(self.retries + 1):
            try:
                return number, io.BytesIO(self._fetch_in_time(url, pauses)), None
            except Exception as error:  # one that leaves a thread would end the whole shard
                message = str(error) or type(error).__name__
            if failure_reason(None, message) in PERMANENT:
                break
        return number, None, message

    def _fetch_in_time(self, url: str, pauses: HostPauses) -> bytes:
        """Fetch, once more after the server's `Retry-After`."""
        pauses.wait(url)
        try:
            return self._fetch_once(url, pauses)
        except FetchFailed as error:
            if error.retry_after is None or not pauses.begin(url, error.retry_after):
                raise
        pauses.wait(url)
        return self._fetch_once(url, pauses)

    def _fetch_once(self, url: str, pauses: HostPauses) -> bytes:
        data = fetch_image(
            url, self.limits, agent_token=self.user_agent_token, directives=self.disallowed_header_directives or ()
        )
        pauses.end(url)
        return data
