"""img2dataset's downloader with our own fetching: limits for a whole response, URLs as browsers ask, waiting as asked.

img2dataset gives each shard to its `Downloader`, in whatever process a distributor chose, and this finds its fetching
function in its module. `LimitedDownloader` puts ours there before each shard, so nothing of img2dataset is changed on
disk. For the process around img2dataset and its workers only.
"""

from __future__ import annotations

import io
from typing import Any

from index.corpus.download_status import PERMANENT, failure_reason
from index.corpus.fetch_image import FetchFailed, FetchLimits, fetch_image
from index.corpus.host_pauses import HostPauses

__all__ = ["LimitedDownloader"]

Fetched = tuple[int, io.BytesIO | None, str | None]  # number of the row in its shard, image, why there is none


class LimitedDownloader:
    """Stands for img2dataset's `Downloader`, whose arguments are `settings`; it is pickled for the workers."""

    def __init__(self, limits: FetchLimits, **settings: Any) -> None:
        self.limits, self.settings = limits, settings

    def __call__(self, shard: Any) -> Any:
        """Download one shard; `shard` and the answer are img2dataset's own."""
        from img2dataset import downloader

        theirs = downloader.Downloader(**self.settings)
        rules = {"agent_token": theirs.user_agent_token, "directives": theirs.disallowed_header_directives or ()}
        pauses = HostPauses(self.limits.max_wait)

        def fetch(row: tuple[int, str], retries: int, **_: Any) -> Fetched:
            number, url = row
            message = ""
            for _try in range(retries + 1):
                try:
                    return number, io.BytesIO(self._fetch_in_time(url, pauses, rules)), None
                except Exception as error:  # one that leaves a thread would end the whole shard
                    message = str(error) or type(error).__name__
                if failure_reason(None, message) in PERMANENT:
                    break
            return number, None, message

        downloader.download_image_with_retry = fetch
        return theirs(shard)

    def _fetch_in_time(self, url: str, pauses: HostPauses, rules: dict[str, Any]) -> bytes:
        """Fetch when the host's pause is over, and once more after one that it asks for."""
        pauses.wait(url)
        try:
            data = fetch_image(url, self.limits, **rules)
        except FetchFailed as error:
            if error.retry_after is None or not pauses.begin(url, error.retry_after):
                raise
            pauses.wait(url)
            data = fetch_image(url, self.limits, **rules)
        pauses.end(url)
        return data
