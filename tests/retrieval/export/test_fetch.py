"""Fetching from a real HTTP server on this machine, through img2dataset."""

from __future__ import annotations

import json
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from index.corpus.download import DownloadOptions
from index.errors import BadInput, OutputExists
from index.store.output_register import holding_outputs
from retrieval import Selection, fetch_selection, retrieve
from tests.retrieval.stores import forget, jpeg, make_store, random_unit
from tests.retrieval.words import WordEncoder

DIM = 8
ROWS = 40
WORDS = {"dog": random_unit(1, seed=5)[0], "cat": random_unit(1, seed=6)[0]}
# No waiting for servers here: one thread pool, short timeouts.
OPTIONS = DownloadOptions(threads=8, timeout=5)


class Web:
    """Serves /ROW.jpg; rows in `gone` give 404, in `busy` 503, in `broken` a page that is no image."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.busy: set[int] = set()
        self.broken: set[int] = set()
        self.asked: Counter[int] = Counter()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                row = int(self.path.strip("/").removesuffix(".jpg"))
                web.asked[row] += 1
                if row in web.gone or row in web.busy:
                    self.send_error(404 if row in web.gone else 503)
                    return
                body = b"<html>moved</html>" if row in web.broken else jpeg(row)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def url(self, row: int) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{row}.jpg"

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = Web()
    yield served
    served.close()


def select(folder: Path, web: Web, urls: list[str | None] | None = None, **choices: Any) -> Selection:
    """Over a store whose images are elsewhere, as LAION's are."""
    links = urls or [web.url(row) for row in range(ROWS)]
    store = make_store(folder, random_unit(ROWS), urls=links, local=False)
    arguments: dict[str, Any] = {"k": 6, "templates": "name", "mode": "t2i", "reserve": 1.0, **choices}
    encoder: Any = WordEncoder(WORDS, DIM)
    return retrieve(store, ["dog", "cat"], out=folder / "selection", encoder=encoder, **arguments)


def ids(selection: Selection, concept: str, section: Any = "rows") -> list[int]:
    found: list[int] = selection.table(["row_id"], concepts=[concept], section=section)["row_id"].to_pylist()
    return found


def test_lost_rows_are_topped_up_from_the_next_ranks_and_an_interruption_costs_nothing(
    web: Web, tmp_path: Path
) -> None:
    linkless = ids(select(tmp_path / "trial", web), "cat")[0]
    selection = select(tmp_path, web, [None if row == linkless else web.url(row) for row in range(ROWS)])
    dogs, spare = ids(selection, "dog"), ids(selection, "dog", "reserve")
    web.gone = {dogs[0], dogs[3], spare[0]}
    web.broken = {dogs[4]}

    def stop(number: int, done: int, shards: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_selection(selection, tmp_path / "out", options=OPTIONS, on_progress=stop)
    assert not (tmp_path / "out/manifest.json").exists()
    before = Counter(web.asked)
    summary = fetch_selection(selection, tmp_path / "out", options=OPTIONS)

    first_round = set(selection.table(["row_id"])["row_id"].to_pylist())
    assert not first_round & set(web.asked - before)
    assert summary.asked == selection.rows
    assert summary.lost == {"http_404": 3, "no_url": 1, "not_an_image": 1}
    assert summary.topped_up == 5
    assert summary.asked + summary.topped_up == summary.arrived + sum(summary.lost.values())
    assert summary.short == {}
    assert summary.rounds == 3

    fetched = pq.read_table(tmp_path / "out/fetched.parquet").to_pylist()
    assert Counter(row["concept"] for row in fetched) == selection.counts
    cat = ids(selection, "cat", "reserve")[0]
    assert {row["row_id"] for row in fetched if row["topped_up"]} == {spare[1], spare[2], spare[3], cat}
    by_row = {row["row_id"]: row for row in [*selection, *selection.table(section="reserve").to_pylist()]}
    for row in fetched:
        assert (row["caption"], row["prompt"]) == (by_row[row["row_id"]]["caption"], by_row[row["row_id"]]["prompt"])
        with tarfile.open(tmp_path / "out" / row["image_shard"]) as tar:
            image, side = (tar.extractfile(f"{row['image_key']}.{kind}") for kind in ("jpg", "json"))
            assert image is not None
            assert side is not None
            assert image.read() == jpeg(row["row_id"])
            assert json.load(side)["row_id"] == row["row_id"]
    lost = pq.read_table(tmp_path / "out/lost.parquet").to_pylist()
    assert {row["row_id"]: row["reason"] for row in lost} == {
        **dict.fromkeys(web.gone, "http_404"),
        dogs[4]: "not_an_image",
        linkless: "no_url",
    }

    web.asked.clear()
    assert fetch_selection(selection, tmp_path / "out", options=OPTIONS) == summary
    assert not web.asked


def test_a_rerun_asks_again_only_for_what_failed_in_passing_where_rows_are_still_short(
    web: Web, tmp_path: Path
) -> None:
    selection = select(tmp_path, web, reserve=0.0)
    cats = ids(selection, "cat")
    web.busy, web.gone = {cats[0], cats[1]}, {cats[2]}
    first = fetch_selection(selection, tmp_path / "out", options=OPTIONS)
    assert first.short == {"cat": 3}
    assert first.lost == {"http_404": 1, "http_503": 2}

    web.busy = set()
    web.asked.clear()
    second = fetch_selection(selection, tmp_path / "out", options=OPTIONS)
    assert set(web.asked) == {cats[0], cats[1]}
    assert second.short == {"cat": 1}
    assert second.lost == {"http_404": 1}
    assert second.arrived == selection.rows - 1


def test_no_url_at_all_and_a_foreign_folder_are_errors(web: Web, tmp_path: Path) -> None:
    selection = select(tmp_path / "a", web, [None] * ROWS)
    with pytest.raises(BadInput, match="none of its rows has a URL"):
        fetch_selection(selection, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("...")
    with pytest.raises(OutputExists):
        fetch_selection(select(tmp_path / "b", web), tmp_path / "out")


def test_a_folder_that_asked_for_rows_forgotten_since_is_refused(web: Web, tmp_path: Path) -> None:
    selection = select(tmp_path, web)
    fetch_selection(selection, tmp_path / "out", options=OPTIONS)
    row = ids(selection, "cat")[0]
    forget(selection.store(), [row])
    assert {(output.kind, output.rows) for output in holding_outputs(selection.store())} == {
        ("selection", 1),
        ("fetched images", 1),
    }
    with pytest.raises(BadInput, match="asked for 1 row that the store forgot since; delete the folder and run"):
        fetch_selection(selection, tmp_path / "out", options=OPTIONS)
    fetch_selection(selection, tmp_path / "again", options=OPTIONS)
    assert row not in pq.read_table(tmp_path / "again/fetched.parquet")["row_id"].to_pylist()
