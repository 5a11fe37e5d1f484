"""img2dataset fetches by our rules: retries of what may pass, pauses that servers ask for, and no endless waiting."""

from __future__ import annotations

from pathlib import Path

from index.corpus.download import DownloadOptions, download_table
from tests.index.web import serve


def test_only_what_may_pass_is_retried_and_pauses_are_kept_within_bounds(tmp_path: Path) -> None:
    options = DownloadOptions(threads=1, timeout=30, retries=1, max_wait=1)
    busy = [f"/busy/0/{number}.jpg" for number in range(6)]
    paths = ["/flaky/1.jpg", "/missing/1.jpg", "/broken/1.jpg", "/wait/1/1.jpg", "/wait/60/1.jpg", *busy]
    with serve() as web:
        lines = "".join(f"{web.url(path)}\tpicture\n" for path in paths)
        (tmp_path / "urls.tsv").write_text("url\tcaption\n" + lines)
        summary = download_table(str(tmp_path / "urls.tsv"), str(tmp_path / "out"), options)
        asked = web.asked
    assert summary.failed == {"http_404": 1, "http_429": 6, "not_an_image": 1}
    assert {path: asked[path] for path in paths[:3]} == {"/flaky/1.jpg": 2, "/missing/1.jpg": 1, "/broken/1.jpg": 1}
    assert asked["/wait/1/1.jpg"] == 2, "once, and once after the pause"
    assert asked["/wait/60/1.jpg"] == 2, "not waited for, but retried"
    assert sum(asked[path] for path in busy) == 15, "twice each, and after the three pauses that a host gets"
