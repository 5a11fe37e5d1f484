"""The download job: tables become tars, temporary failures are retried, a corpus needs at least one image."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from index.corpus.download import DownloadOptions
from index.errors import BadInput, ClipmineError, OutputExists
from jobs.download_job import download_corpus, retry_command, run_download
from tests.index.web import Web, serve


def table(web: Web, folder: Path, *paths: str) -> str:
    """A CSV table of the server's URLs at these paths."""
    with open(folder / "urls.csv", "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["url", "caption"])
        rows.writerows([[web.url(path), f"picture of {path}"] for path in paths])
    return str(folder / "urls.csv")


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
        with pytest.raises(BadInput, match=r"none of its 2 images could be downloaded \(2 http_404\)$"):
            download_corpus(urls, str(tmp_path / "images"))


def test_a_corpus_whose_images_all_failed_temporarily_names_the_command_that_tries_again(tmp_path: Path) -> None:
    with serve() as web:
        urls = table(web, tmp_path, "/flaky/1.jpg")
    images = str(tmp_path / "the images")
    with pytest.raises(
        BadInput, match=r"\(1 connection\); to try them again: clipmine download .*--retry-failed$"
    ) as found:
        download_corpus(urls, images, shard_size=5)
    assert str(found.value).endswith(f"{urls} --out '{images}' --shard-size 5 --retry-failed")


def test_the_command_that_retries_names_what_the_download_was_begun_with() -> None:
    assert retry_command("t.csv", "o", url_column="url", shard_size=10_000) == (
        "clipmine download t.csv --out o --retry-failed"
    )
    options = DownloadOptions(image_size=64, resize_mode="border", timeout=3, processes=2, distributor="ray")
    command = retry_command(
        "t.csv", "o", options, url_column="link", caption_column="alt text", keep_columns=["a"], columns=["link", "x"]
    )
    assert command == (
        "clipmine download t.csv --out o --url-column link --caption-column 'alt text' --keep a --columns link,x "
        "--executor ray --workers 2 --timeout 3 --image-size 64 --resize-mode border --retry-failed"
    )


def test_a_download_without_a_finished_shard_leaves_its_folder_to_a_corrected_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "tars"
    with serve() as web:
        urls = table(web, tmp_path, "/ok/1.jpg", "/ok/2.jpg")
        with pytest.raises(BadInput, match="caption"):
            run_download(urls, str(out), caption_column="text")
        assert not out.exists()
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # where no cluster answers
        monkeypatch.setattr("ray.is_initialized", lambda: False)  # other tests of this process use one
        with pytest.raises(ClipmineError):
            run_download(urls, str(out), DownloadOptions(distributor="ray"), shard_size=2)
        assert (out / "_table" / "plan.json").exists()
        (out / "00000.tar").write_bytes(b"begun")
        assert run_download(urls, str(out), DownloadOptions(timeout=5), shard_size=5).downloaded == 2
        with pytest.raises(OutputExists, match="other settings"):
            run_download(urls, str(out), shard_size=2)
