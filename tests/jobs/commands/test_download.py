"""`clipmine download`: a table becomes tars; the options reach img2dataset; former names work."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path
from typing import Any

import pytest

from index.corpus.fetch_image import FetchLimits
from jobs.cli import run
from jobs.commands.download import command
from tests.index.web import serve
from tests.jobs.running import Fails, Run, counts


class Stop(Exception):
    """Ends a command before it downloads."""


def write_table(path: Path, urls: list[str]) -> Path:
    with open(path, "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["link", "caption"])
        table.writerows([[url, f"picture {number}"] for number, url in enumerate(urls)])
    return path


def test_a_table_becomes_tars_and_losses_are_counted_by_reason(tmp_path: Path, clipmine: Run) -> None:
    with serve() as web:
        urls = [web.url(f"/ok/{number}.jpg") for number in range(3)] + [web.url("/missing/3.jpg")]
        table = write_table(tmp_path / "urls.csv", urls)
        asked = ["download", table, "--out", tmp_path / "tars", "--url-column", "link", "--shard-size", 10]
        lines = clipmine(*asked, "--retry-failed")
    assert counts(lines) == {"rows in the table": 4, "- http_404": 1, "images downloaded": 3, "tars": 1}
    assert (tmp_path / "tars" / "00000.tar").exists()
    assert lines[-1].startswith(f"next: clipmine embed {tmp_path / 'tars'} --out STORE")


def test_where_all_failed_temporarily_the_next_step_is_the_retry_and_the_status_is_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], clipmine: Run
) -> None:
    with serve() as web:
        urls = [web.url("/flaky/1.jpg"), web.url("/flaky/2.jpg")]
        table = write_table(tmp_path / "urls.csv", urls)
        asked = ["download", table, "--out", tmp_path / "tars", "--url-column", "link", "--shard-size", 10]
        for _ in range(2):
            status = run([str(word) for word in asked])
            lines = capfd.readouterr().out.splitlines()
            assert status == 1
            assert counts(lines)["- http_503"] == counts(lines)["failed temporarily"] == 2
            assert lines[-1] == f"next: {shlex.join(['clipmine', *map(str, asked)])} --retry-failed"
        lines = clipmine(*shlex.split(lines[-1])[2:])
    assert counts(lines)["images downloaded"] == 2


def test_a_table_without_a_header_is_read_with_the_names_of_its_columns(tmp_path: Path, clipmine: Run) -> None:
    with serve() as web:
        table = tmp_path / "urls.tsv"
        table.write_text(f'"Golden hour" over the bay\t{web.url("/ok/1.jpg")}\n"Out\t{web.url("/missing/1.jpg")}\n')
        lines = clipmine("download", table, "--out", tmp_path / "tars", "--columns", "caption, url")
    assert counts(lines)["rows in the table"] == 2
    assert not [line for line in lines if "temporarily" in line]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {"processes": 1, "distributor": "multiprocessing"}),
        (["--workers", "3", "--executor", "ray"], {"processes": 3, "distributor": "ray"}),
        (["--processes", "3", "--distributor", "ray"], {"processes": 3, "distributor": "ray"}),
        (["--distributor", "multiprocessing"], {"processes": 1, "distributor": "multiprocessing"}),
        (["--timeout", "4"], {"limits": FetchLimits(4, 20, 50_000_000, 30)}),
        (
            ["--response-timeout", "40", "--max-bytes", "9", "--max-wait", "0", "--user-agent-token", "me"],
            {"limits": FetchLimits(10, 40, 9, 0), "user_agent_token": "me"},
        ),
    ],
)
def test_workers_and_executor_reach_the_download_options_by_either_name(
    arguments: list[str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def stop(table: str, out: str, options: Any, **choices: Any) -> None:
        seen.append(options)
        raise Stop

    monkeypatch.setattr("jobs.download_job.run_download", stop)
    with pytest.raises(Stop):
        command.main(["table.csv", "--out", "o", *arguments], standalone_mode=False)
    assert {name: getattr(seen[0], name) for name in expected} == expected


def test_a_resize_mode_without_a_size_is_refused(tmp_path: Path, fails: Fails) -> None:
    line, status = fails("download", "table.csv", "--out", tmp_path / "t", "--resize-mode", "border")
    assert "--resize-mode would have no effect without --image-size" in line
    assert status == 2
