"""img2dataset really downloads from a local HTTP server; a second run fetches only what failed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.corpus.download import (
    DownloadOptions,
    DownloadSummary,
    download_table,
    downloaded_rows,
    retry_failed,
    row_states,
)
from index.corpus.image_decoding import decode_image
from index.corpus.samples import Sample
from index.corpus.sources import list_items, read_item
from index.errors import BadInput, OutputExists
from tests.index.web import Web, photo_for, serve

OPTIONS = DownloadOptions(threads=16, timeout=3, response_timeout=4, max_bytes=10_000, user_agent_token="tester")
PATHS = [
    *(f"/ok/{number}.jpg" for number in range(5)),
    "/missing/1.jpg",
    "/gone/1.jpg",
    "/slow/1.jpg",
    "/late/1.jpg",
    "/flaky/1.jpg",
    "/broken/1.jpg",
    "/noai/1.jpg",
    "/ok/ü b.jpg",
    "/drip/1.jpg",
    "/big/10001",
    "/empty/1.jpg",
    "/circle/1.jpg",
    "/wait/1/1.jpg",
    "/busy/3600/1.jpg",
    "/robots/tester%3A%20noml/1.jpg",
    "/robots/other%3A%20noml/1.jpg",
]
# Rows without a URL of the web, and one whose text is not UTF-8.
UNUSABLE = ["file:///etc/hostname", None, "data:image/gif;base64,R0lGODlhAQABAAAAACw="]
ROWS = len(PATHS) + len(UNUSABLE) + 1
FIRST = {
    "disallowed": 2,
    "empty": 1,
    "http_404": 1,
    "http_410": 1,
    "http_429": 1,
    "http_503": 1,
    "data_url": 1,
    "no_url": 1,
    "not_an_image": 1,
    "not_http": 1,
    "not_utf8": 1,
    "redirect_loop": 1,
    "timeout": 3,
    "too_large": 1,
}


@dataclass
class Runs:
    """Three runs over one table: what each returned and asked of the server, and the tars' bytes after each."""

    web: Web
    table: Path
    out: Path
    summaries: list[DownloadSummary]
    asked: list[Counter[str]]
    tars: list[dict[str, bytes]]


def tars_in(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.tar"))}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("download")
    with serve() as web:
        urls = [web.url(path) for path in PATHS] + UNUSABLE + [web.url("/ok/99.jpg")]
        captions = [f"caption {n}".encode() for n in range(ROWS - 1)] + [b"caf\xe9"]
        table = pa.table({"link": urls, "text": captions, "id": list(range(100, 100 + ROWS))})
        pq.write_table(table, folder / "urls.parquet")
        found = Runs(web, folder / "urls.parquet", folder / "out", [], [], [])
        for run in range(3):
            before = Counter(web.asked)
            if run == 0:
                summary = download_table(
                    str(found.table),
                    str(found.out),
                    OPTIONS,
                    url_col="link",
                    caption_col="text",
                    keep_columns=["id"],
                    shard_size=6,
                )
            else:
                summary = retry_failed(str(found.out), OPTIONS, max_attempts=3)
            found.summaries.append(summary)
            found.asked.append(web.asked_since(before))
            found.tars.append(tars_in(found.out))
        yield found


def test_the_counts_of_a_download_add_up_by_reason(runs: Runs) -> None:
    first = runs.summaries[0]
    assert (first.rows, first.downloaded) == (ROWS, 8)
    assert first.failed == FIRST
    assert (first.shards, first.unfinished_shards, first.retryable) == (4, 0, 5)
    for summary in runs.summaries:
        assert summary.rows == summary.downloaded + sum(summary.failed.values())


def test_a_second_run_fetches_only_what_failed_for_a_passing_reason(runs: Runs) -> None:
    assert set(runs.asked[0]) == {"/ok/%C3%BC%20b.jpg" if path == "/ok/ü b.jpg" else path for path in PATHS}
    assert runs.asked[0]["/wait/1/1.jpg"] == 2, "waited for, in the same run"
    assert set(runs.asked[1]) == {"/slow/1.jpg", "/late/1.jpg", "/flaky/1.jpg", "/drip/1.jpg", "/busy/3600/1.jpg"}
    assert runs.summaries[1].downloaded == 10
    assert runs.summaries[1].failed == {name: n for name, n in (FIRST | {"timeout": 2}).items() if name != "http_503"}


def test_a_third_run_fetches_only_what_still_fails(runs: Runs) -> None:
    assert set(runs.asked[2]) == {"/slow/1.jpg", "/drip/1.jpg", "/busy/3600/1.jpg"}
    assert runs.summaries[2].downloaded == 10
    assert runs.summaries[2].retryable == 0, "three attempts were allowed"


def test_finished_shards_stay_as_they_are(runs: Runs) -> None:
    assert list(runs.tars[2]) == [f"{number:05d}.tar" for number in range(6)]
    for earlier, later in zip(runs.tars, runs.tars[1:], strict=False):
        assert {name: later[name] for name in earlier} == earlier


def test_running_again_when_nothing_is_left_asks_for_nothing(runs: Runs) -> None:
    before = Counter(runs.web.asked)
    again = download_table(
        str(runs.table), str(runs.out), OPTIONS, url_col="link", caption_col="text", keep_columns=["id"], shard_size=6
    )
    assert again.downloaded == 10
    assert retry_failed(str(runs.out), OPTIONS, max_attempts=3) == runs.summaries[2]
    assert runs.web.asked == before


def test_the_tars_are_read_as_a_corpus_with_the_bytes_that_were_served(runs: Runs) -> None:
    samples = [entry for item in list_items(str(runs.out)) for entry in read_item(item)]
    assert all(isinstance(sample, Sample) for sample in samples)
    found = [sample for sample in samples if isinstance(sample, Sample)]
    assert len({sample.key for sample in found}) == 10
    for sample in found:
        path = str(sample.url).removeprefix(runs.web.url(""))
        row = json.loads(sample.extra)["table_row"]
        assert PATHS[row] == path
        assert sample.caption == f"caption {row}"
        assert json.loads(sample.extra)["id"] == 100 + row
        assert decode_image(sample.image).size == (12, 9)
        assert sample.image == photo_for("/ok/%C3%BC%20b.jpg" if path == "/ok/ü b.jpg" else path)


def test_rows_that_arrived_are_joined_with_their_kept_columns(runs: Runs) -> None:
    rows = [row for table in downloaded_rows(str(runs.out)) for row in table.to_pylist()]
    assert sorted(row["table_row"] for row in rows) == [0, 1, 2, 3, 4, 8, 9, 12, 17, 20]
    assert all(row["id"] == 100 + row["table_row"] for row in rows)
    assert {row["shard"] for row in rows if row["table_row"] in (8, 9)} == {"00004.tar"}
    states = row_states(str(runs.out))
    assert [states.reasons[code] for code in states.state[[0, 5, 7, 21, 22]]] == [
        "downloaded",
        "http_404",
        "timeout",
        "not_http",
        "no_url",
    ]
    assert states.attempts[[0, 5, 7, 8, 21, 22]].tolist() == [1, 1, 3, 2, 0, 0]


def test_servers_are_told_who_asks(runs: Runs) -> None:
    assert all("compatible; tester;" in agent for agent in runs.web.agents)


def test_a_folder_of_another_download_is_not_touched(runs: Runs) -> None:
    with pytest.raises(OutputExists, match="other settings"):
        download_table(str(runs.table), str(runs.out), OPTIONS, url_col="link", caption_col="text", shard_size=7)
    with pytest.raises(BadInput, match="image size None"):
        retry_failed(str(runs.out), DownloadOptions(image_size=64))


def write_csv(path: Path, urls: list[str]) -> str:
    path.write_text("url,caption\n" + "".join(f'{url},"a thing, {n}"\n' for n, url in enumerate(urls)))
    return str(path)


def test_a_download_killed_hard_leaves_nothing_running_and_is_finished_by_the_next(tmp_path: Path) -> None:
    with serve(delay=20) as web:
        quick = [web.url(f"/ok/{number}.jpg") for number in range(4)]
        table = write_csv(tmp_path / "urls.csv", [*quick, web.url("/late/1.jpg"), web.url("/ok/9.jpg")])
        out = tmp_path / "out"
        call = "download_table(*sys.argv[1:], DownloadOptions(timeout=60), shard_size=4)"
        code = f"import sys; from index.corpus.download import *; {call}"
        root = str(Path(__file__).parents[3])
        killed = subprocess.Popen([sys.executable, "-c", code, table, str(out)], cwd=root)
        deadline = time.monotonic() + 180
        while not (web.asked["/late/1.jpg"] and (out / "00000_stats.json").exists()):
            assert time.monotonic() < deadline
            assert killed.poll() is None
            time.sleep(0.1)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        while running_on(str(out)):
            assert time.monotonic() < deadline, "img2dataset went on without its parent"
            time.sleep(0.1)
        finished = (out / "00000.tar").read_bytes()
        before = Counter(web.asked)
        steps: list[tuple[int, int]] = []
        summary = download_table(table, str(out), OPTIONS, shard_size=4, progress=lambda *step: steps.append(step))
        assert (summary.rows, summary.downloaded, summary.unfinished_shards) == (6, 6, 0)
        assert set(web.asked_since(before)) == {"/late/1.jpg", "/ok/9.jpg"}
        assert (out / "00000.tar").read_bytes() == finished
        assert steps[0] == (1, 2)


def running_on(out: str) -> list[int]:
    """Processes of this machine whose command names `out`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if out.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.fixture
def dead_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file in which a Ray cluster on this machine leaves its address, with the address of one that has died."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # not tmp_path: a socket's path has at most 107 bytes
    (Path(folder) / "ray").mkdir()
    address = Path(folder) / "ray" / "ray_current_cluster"
    address.write_text("127.0.0.1:6")
    monkeypatch.setenv("RAY_TMPDIR", folder)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield address
    shutil.rmtree(folder, ignore_errors=True)


def test_a_table_that_got_more_files_is_continued_by_a_ray_of_its_own(tmp_path: Path, dead_cluster: Path) -> None:
    (tmp_path / "tables").mkdir()
    out, tables = str(tmp_path / "out"), str(tmp_path / "tables")
    options = DownloadOptions(threads=4, timeout=5, image_size=6)
    with serve() as web:
        write_csv(tmp_path / "tables" / "a.csv", [web.url("/ok/1.jpg"), web.url("/broken/1.jpg")])
        first = download_table(tables, out, options, shard_size=4)
        assert (first.downloaded, first.failed) == (1, {"not_an_image": 1})
        write_csv(tmp_path / "tables" / "b.csv", [web.url("/ok/2.jpg")])
        before = Counter(web.asked)
        second = download_table(tables, out, replace(options, distributor="ray"), shard_size=4)
        assert (second.rows, second.downloaded, second.shards) == (3, 2, 2)
        assert web.asked_since(before) == {"/ok/2.jpg": 1}
    assert dead_cluster.read_text() == "127.0.0.1:6", "Ray was started for this download alone"
    samples = [entry for item in list_items(out) for entry in read_item(item) if isinstance(entry, Sample)]
    assert [(sample.width, sample.height) for sample in samples] == [(8, 6), (8, 6)]
    assert [decode_image(sample.image).size for sample in samples] == [(8, 6), (8, 6)]


ROOT = Path(__file__).resolve().parents[3]
ON_RAY = """
import sys
from index.corpus.download import DownloadOptions, download_table
download_table(*sys.argv[1:], DownloadOptions(distributor="ray"))
"""


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "urls.csv", ["http://127.0.0.1:6/1.jpg"])
    # In a process of its own, since a Ray that other tests have started here would be used.
    done = subprocess.run(
        [sys.executable, "-c", ON_RAY, table, str(tmp_path / "out")],
        env={**os.environ, "RAY_ADDRESS": "127.0.0.1:6"},
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=200,
    )  # fmt: skip
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("index.errors.BadInput: RAY_ADDRESS 127.0.0.1:6: no Ray cluster answers there")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"distributor": "slurm"}, "multiprocessing, ray"),
        ({"resize_mode": "crop"}, "center_crop"),
        ({"threads": 0}, "at least 1"),
        ({"max_bytes": 0}, "at least 1"),
        ({"timeout": 9, "response_timeout": 8}, "at least the timeout, 9"),
    ],
)
def test_bad_options_are_one_line(settings: dict[str, object], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        DownloadOptions(**settings)  # type: ignore[arg-type]


def test_a_folder_without_a_download_cannot_be_retried(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no download"):
        retry_failed(str(tmp_path))
