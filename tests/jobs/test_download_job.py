"""The download job: tables become tars, temporary failures are retried, a corpus needs at least one image."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from index.corpus.download import DownloadOptions
from index.errors import BadInput
from jobs.download_job import download_corpus, is_table, run_download
from tests.index.web import Web, serve


def table(web: Web, folder: Path, *paths: str) -> str:
    """A CSV table of the server's URLs at these paths."""
    with open(folder / "urls.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["url", "caption"])
        rows.writerows([[web.url(path), f"picture of {path}"] for path in paths])
    return str(folder / "urls.csv")


def test_a_table_is_told_by_its_name() -> None:
    assert all(is_table(name) for name in ("a.parquet", "s3://b/A.CSV", "c.tsv"))
    assert not any(is_table(name) for name in ("a.tar", "photos", "a.parquet/"))


def test_temporary_failures_are_retried_when_asked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with serve() as web:
        urls = table(web, tmp_path, "/ok/1.jpg", "/flaky/1.jpg", "/missing/1.jpg")
        summary = run_download(urls, str(tmp_path / "tars"), DownloadOptions(timeout=5), retry=True)
        assert (summary.rows, summary.downloaded, summary.retryable) == (3, 2, 0)
        assert web.asked["/flaky/1.jpg"] == 2
        assert web.asked["/missing/1.jpg"] == 1
    assert "retry: " in capfd.readouterr().err


def test_a_corpus_without_a_single_image_is_refused_with_the_reasons(tmp_path: Path) -> None:
    with serve() as web:
        urls = table(web, tmp_path, "/missing/1.jpg", "/missing/2.jpg")
        with pytest.raises(BadInput, match=r"none of its 2 images could be downloaded \(2 http_404\)"):
            download_corpus(urls, str(tmp_path / "images"))
