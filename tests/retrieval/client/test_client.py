"""The clients against a real service, and against servers that refuse, break off or talk nonsense."""

from __future__ import annotations

import asyncio
import http.server
import io
import itertools
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from index.errors import BadInput, ClipmineError
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from retrieval import AsyncClient, Client, Rules, Selection, load_concepts, retrieve
from retrieval.client.answers import LONGEST_WAIT, Attempts, ConceptReader, seconds
from retrieval.client.remote import retrieve_remote
from retrieval.concepts import Concept, ConceptList
from retrieval.search.retriever import Retriever
from retrieval.service.schemas import ColumnFilter, Filters, SearchResponse
from retrieval.service.settings import Settings
from tests.serving import Serve

CONCEPTS = ["red circle", "blue square", "green circle"]


@pytest.fixture(scope="module")
def url(served_store: EmbeddingStore, serve: Serve) -> Iterator[str]:
    with serve(served_store) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


def ids(found: SearchResponse) -> list[list[int]]:
    return [[row.row_id for row in result.rows] for result in found.results]


class TestSearch:
    def test_queries_of_every_kind_are_answered_together(
        self,
        client: Client,
        served_store: EmbeddingStore,
        tmp_path: Path,
    ) -> None:
        data = read_image(served_store, 5)
        (tmp_path / "shape.jpg").write_bytes(data)
        picture = Image.open(io.BytesIO(data))
        vector = served_store.gather("image", [5])[0]
        found = client.search(["a red circle", data, tmp_path / "shape.jpg", picture, vector, 5], k=4)
        by_text, by_bytes, by_path, by_picture, by_vector, by_row = ids(found)
        assert by_text == Retriever(served_store).search(["a red circle"], 4).row_ids[0].tolist()
        assert by_bytes == by_path == by_picture == by_vector
        assert by_vector[0] == 5
        assert by_row[:3] == by_vector[1:]  # a row is not its own result
        assert found.plan
        assert not found.partial

    def test_an_array_is_a_query_a_row(self, client: Client, served_store: EmbeddingStore) -> None:
        vectors = served_store.gather("text", [1, 2, 3])
        expected = Retriever(served_store).search(vectors, 6, mode="t2t")
        assert ids(client.search(vectors, 6, "text")) == expected.row_ids.tolist()

    def test_filters_columns_and_duplicates_are_asked_for(self, client: Client) -> None:
        wanted = Filters(columns=[ColumnFilter(column="caption", op="contains", value="circle")])
        for filters in (wanted, wanted.model_dump(exclude_none=True)):
            found = client.search(["a shape"], 5, filters=filters, columns=["caption"], mark_duplicates=-1)
            rows = found.results[0].rows
            assert len(rows) == 5
            assert all("circle" in (row.model_extra or {})["caption"] for row in rows)
            assert all(len(row.near_duplicates or []) == 4 for row in rows)

    @pytest.mark.parametrize(
        ("queries", "says"),
        [
            ("a dog", "single query"),
            ([], "no queries"),
            ([1.5], "is a float"),
            ([True], "is a bool"),
            (["a", Path("no/such.jpg")], "query 1: no/such.jpg: cannot be read"),
            ([np.zeros((2, 3))], "is a ndarray"),
            (["\ud800"], "JSON"),
        ],
    )
    def test_what_is_no_query_is_said_before_anything_is_sent(self, queries: Any, says: str) -> None:
        with Client("http://127.0.0.1:9") as nowhere, pytest.raises(BadInput, match=says):
            nowhere.search(queries)

    def test_what_the_service_refuses_is_bad_input_in_its_own_words(self, client: Client) -> None:
        with pytest.raises(BadInput, match=r"k is 1000: at most 33 here \(400\)"):
            client.search(["a"], 1000)
        with pytest.raises(BadInput, match="no metadata column 'color'"):
            client.search(["a"], columns=["color"])
        with pytest.raises(BadInput, match="no row 33"):
            client.row(33)


class TestRows:
    def test_metadata_and_images(self, client: Client, served_store: EmbeddingStore) -> None:
        key = served_store.metadata([9], ["key"])["key"][0].as_py()
        assert client.row(9, ["key", "width"])["key"] == key
        assert client.row(9)["row_id"] == 9
        assert client.image(9) == read_image(served_store, 9)
        assert max(Image.open(io.BytesIO(client.image(9, side=32))).size) == 32

    def test_what_is_served(self, client: Client, served_store: EmbeddingStore) -> None:
        served = client.indexes()
        assert served.name == "shapes"
        assert served.rows == served_store.rows
        assert [index.modality for index in served.indexes] == ["image", "text"]
        assert client.ready()

    def test_nobody_there_is_not_ready(self) -> None:
        with Client("http://127.0.0.1:9") as nowhere:
            assert not nowhere.ready()


class TestConcepts:
    def test_the_rows_are_those_of_clipmine_retrieve(
        self,
        client: Client,
        served_store: EmbeddingStore,
        tmp_path: Path,
    ) -> None:
        rules = Rules(per_concept=6)
        selection = retrieve(served_store, CONCEPTS, out=tmp_path / "out", k=9, rules=rules)
        seen: list[tuple[int, int]] = []
        stream = client.concepts(CONCEPTS, k=9, rules=rules, on_progress=lambda done, total: seen.append((done, total)))
        answers = list(stream)
        assert [answer.name for answer in answers] == CONCEPTS
        rows = [(row.row_id, row.score, row.rank, row.prompt) for answer in answers for row in answer.rows]
        table = selection.table(["row_id", "score", "rank", "prompt"]).to_pylist()
        assert rows == [tuple(row.values()) for row in table]
        assert answers[0].rows[0].columns["caption"] == selection.table(["caption"])["caption"][0].as_py()
        assert stream.summary.losses == selection.losses
        assert stream.summary.hits == selection.hits == stream.summary.rows + sum(stream.summary.losses.values())
        assert seen[-1] == (42, 42)

    def test_rules_may_be_a_mapping_and_concepts_vectors(
        self,
        client: Client,
        served_store: EmbeddingStore,
    ) -> None:
        vectors = Retriever(served_store).encoder.encode_texts(["a red circle", "art of a red circle"])
        answer = next(client.concepts({"red": vectors}, mode="t2i", k=3, rules={"cap": 2}))
        expected = Retriever(served_store).search(vectors, 3)
        assert answer.rows[0].score == pytest.approx(float(expected.scores.max()), abs=1e-3)
        assert len(answer.rows) == 2

    def test_a_concepts_own_templates_aliases_and_id_are_sent(
        self,
        client: Client,
        served_store: EmbeddingStore,
        tmp_path: Path,
    ) -> None:
        (tmp_path / "shapes.yaml").write_text(
            "templates: ['one {}', 'two {}']\n"
            "concepts: [red, {name: blue, templates: '{}', id: 7}, {name: green, aliases: [lime]}]\n"
        )
        concepts = load_concepts(tmp_path / "shapes.yaml")
        selection = retrieve(served_store, concepts, out=tmp_path / "out", k=4)
        answers = list(client.concepts(concepts, k=4))
        assert [answer.class_id for answer in answers] == [None, "7", None]
        prompts = [row.prompt for answer in answers for row in answer.rows]
        assert prompts == selection.table(["prompt"])["prompt"].to_pylist()

    def test_the_summary_comes_with_the_last_concept(self, client: Client) -> None:
        with client.concepts(CONCEPTS, k=2) as stream:
            next(stream)
            with pytest.raises(ClipmineError, match="read all concepts first"):
                _ = stream.summary

    def test_a_store_cannot_be_excluded(self, client: Client) -> None:
        with pytest.raises(BadInput, match="names a store of this machine"):
            client.concepts(CONCEPTS, rules=Rules(exclude="store"))

    def test_leaving_early_cancels_the_work(self, serve: Serve, served_store: EmbeddingStore) -> None:
        names = [f"thing {number}" for number in range(3_000)]
        with serve(served_store, Settings(concept_jobs=1)) as url, Client(url, retries=0) as client:

            def leave(done: int, total: int) -> None:
                assert total == len(names) * 7
                raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                next(client.concepts(names, mode="t2i", k=3, on_progress=leave))
            # The one place for concept lists is taken until the service has seen that we left.
            body = {"concepts": ["red circle"], "k": 2}
            while (answer := httpx.post(f"{url}/concepts", json=body)).status_code == 429:
                time.sleep(0.05)
            assert answer.status_code == 200
            counts = httpx.get(f"{url}/metrics").text
        encoded = re.search(r'clipmine_batch_size_sum{stage="encode_texts"} ([0-9.e+]+)', counts)
        assert encoded is not None
        assert 0 < float(encoded[1]) < len(names) * 7


class TestAsync:
    def test_it_gives_what_the_blocking_client_gives(self, url: str, client: Client) -> None:
        async def ask() -> None:
            async with AsyncClient(url) as asking:
                found, row, image, served, ready = await asyncio.gather(
                    asking.search(["a red circle"], 5),
                    asking.row(3),
                    asking.image(3, side=20),
                    asking.indexes(),
                    asking.ready(),
                )
                assert found.results == client.search(["a red circle"], 5).results
                assert row == client.row(3)
                assert image == client.image(3, side=20)
                assert served == client.indexes()
                assert ready
                async with asking.concepts(CONCEPTS, k=5) as stream:
                    answers = [answer async for answer in stream]
                blocking = client.concepts(CONCEPTS, k=5)
                assert answers == list(blocking)
                assert stream.summary == blocking.summary
                with pytest.raises(BadInput, match="no row 33"):
                    await asking.row(33)

        asyncio.run(ask())

    def test_leaving_a_stream_early_closes_its_connection(self, url: str) -> None:
        async def ask() -> None:
            async with AsyncClient(url) as asking:
                async with asking.concepts(CONCEPTS, k=5) as stream:
                    assert (await anext(stream)).name == CONCEPTS[0]
                assert (await asking.search(["a"], 1)).results

        asyncio.run(ask())


class TestTokens:
    def test_a_token_opens_the_service(self, serve: Serve, served_store: EmbeddingStore) -> None:
        with serve(served_store, Settings(tokens=("sesame",))) as url:
            with Client(url, token="sesame") as client:
                assert client.search(["a"], 1).results
            with Client(url) as client, pytest.raises(BadInput, match="CLIPMINE_TOKEN"):
                client.search(["a"], 1)

    @pytest.mark.parametrize("token", ["", "two words", "caf\u00e9", "line\nbreak"])
    def test_what_a_header_cannot_carry_is_refused(self, token: str) -> None:
        with pytest.raises(BadInput, match="the token is empty or holds"):
            Client("http://127.0.0.1:9", token=token)


@pytest.mark.parametrize(
    "bad",
    ["", "host:8000", "ftp://host", "http://", "http://host:port", "http://a b", "http://me:pw@host", "http://h?q=1"],
)
def test_what_is_no_url_of_a_service_is_refused(bad: str) -> None:
    with pytest.raises(BadInput, match="URL"):
        Client(bad)


Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def answering(*answers: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers in turn, the last one for ever; yields its URL and the requests that came."""
    asked: list[str] = []
    turns = itertools.chain(answers, itertools.repeat(answers[-1]))

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append(f"{self.command} {self.path}")
            status, headers, body = next(turns)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def problem(status: int, error: str, **headers: str) -> Answer:
    return status, headers, json.dumps({"error": error}).encode()


OK: Answer = (200, {}, b'{"row_id": 1}')
BUSY = {"Retry-After": "0"}


class TestRetries:
    def test_busy_and_not_ready_are_tried_again(self) -> None:
        with answering((429, BUSY, b"{}"), (503, BUSY, b"{}"), OK) as (url, asked), Client(url) as client:
            assert client.row(1) == {"row_id": 1}
            assert len(asked) == 3

    def test_the_async_client_tries_again_as_well(self) -> None:
        async def ask(url: str) -> None:
            async with AsyncClient(url) as client:
                assert await client.row(1) == {"row_id": 1}

        with answering((429, BUSY, b"{}"), OK) as (url, asked):
            asyncio.run(ask(url))
            assert len(asked) == 2

    def test_the_last_attempt_says_what_the_service_said(self) -> None:
        with answering(problem(503, "a replica is being replaced")) as (url, asked), Client(url, retries=1) as client:
            with pytest.raises(ClipmineError, match=r"\(503\): a replica is being replaced"):
                client.row(1)
            assert len(asked) == 2

    @pytest.mark.parametrize(
        ("status", "kind"), [(400, BadInput), (404, BadInput), (422, BadInput), (500, ClipmineError)]
    )
    def test_other_errors_are_told_at_once(self, status: int, kind: type[ClipmineError]) -> None:
        with answering(problem(status, "so it is")) as (url, asked), Client(url) as client:
            with pytest.raises(kind, match=rf"so it is \({status}\)") as error:
                client.row(1)
            assert type(error.value) is kind
            assert len(asked) == 1

    def test_nobody_there_is_tried_again_and_then_told(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody can be reached there
            with Client(f"http://127.0.0.1:{taken.getsockname()[1]}", retries=1) as client:
                with pytest.raises(ClipmineError, match="cannot be reached") as error:
                    client.row(1)
                assert not isinstance(error.value, BadInput)

    def test_a_redirect_is_not_followed_with_the_token(self) -> None:
        with answering((307, {"Location": "http://elsewhere/"}, b"")) as (url, asked), Client(url, "secret") as client:
            with pytest.raises(BadInput, match="http://elsewhere/"):
                client.row(1)
            assert len(asked) == 1

    def test_what_is_no_clipmine_service_is_told(self) -> None:
        page: Answer = (200, {}, b"<html>hello</html>\n")
        with answering(page, page, (200, {}, b'{"results": 3}')) as (url, _), Client(url) as client:
            with pytest.raises(ClipmineError, match="not as a Clipmine service does"):
                client.row(1)
            with pytest.raises(ClipmineError, match="not as a Clipmine service does"):
                list(client.concepts(["dog"]))
            with pytest.raises(ClipmineError, match="not of the expected shape"):
                client.search(["a"])

    def test_waits_grow_with_jitter_and_heed_the_service_within_bounds(self) -> None:
        attempts = Attempts("http://host", retries=12)
        waits = [attempts.refused(503, {}, b"") for _ in range(12)]
        for number, wait in enumerate(waits):
            whole = min(LONGEST_WAIT, 0.25 * 2**number)
            assert whole / 2 <= wait <= whole
        assert Attempts("http://host", retries=1).refused(429, {"retry-after": "7"}, b"") == 7
        assert Attempts("http://host", retries=1).refused(429, {"retry-after": "86400"}, b"") == LONGEST_WAIT
        assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
        assert seconds("soon") == 0


def lines(*values: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)


def concept_line(name: str, caption: str = "c") -> dict[str, Any]:
    row = {"row_id": 3, "score": 0.5, "rank": 1, "mode": "t2i", "prompt": name, "both_ways": False, "caption": caption}
    return {"type": "concept", "name": name, "id": None, "hits": 1, "rows": [row]}


START = {"type": "start", "concepts": 2, "prompts": 2}
END = {
    "type": "end",
    "rows": 2,
    "hits": 2,
    "losses": [],
    "plans": {"t2i": "exact: few"},
    "partial": False,
    "missing": [],
}
WHOLE = lines(START, concept_line("dog"), concept_line("cat", "a line\u2028and another\x85"), END)


class TestStream:
    @pytest.mark.parametrize("size", [1, 7, 4096])
    def test_lines_are_put_together_however_they_are_cut(self, size: int) -> None:
        reader = ConceptReader("http://host")
        answers = [
            answer for at in range(0, len(WHOLE), size) for answer in reader.feed(WHOLE[at : at + size])
        ]  # fmt: skip
        reader.finish()
        assert [answer.name for answer in answers] == ["dog", "cat"]
        assert answers[1].rows[0].columns == {"caption": "a line\u2028and another\x85"}
        assert reader.summary.plans == {"t2i": "exact: few"}

    @pytest.mark.parametrize("body", [b"", lines(START), lines(START, concept_line("dog")), WHOLE[:-40]])
    def test_without_its_end_it_is_an_error_never_a_short_result(self, body: bytes) -> None:
        with answering((200, {}, body)) as (url, asked), Client(url) as client:
            with pytest.raises(ClipmineError, match="the stream was cut after"):
                list(client.concepts(["dog", "cat"]))
            assert len(asked) == 1

    def test_a_connection_that_breaks_is_an_error(self) -> None:
        body = lines(START, concept_line("dog"))
        with answering((200, {"Content-Length": "100000"}, body)) as (url, _), Client(url) as client:
            stream = client.concepts(["dog", "cat"])
            assert next(stream).name == "dog"
            with pytest.raises(ClipmineError, match="cut after 1 of 2 concepts"):
                next(stream)

    def test_the_async_client_says_so_too(self) -> None:
        async def ask(url: str) -> None:
            async with AsyncClient(url) as client:
                with pytest.raises(ClipmineError, match="cut after 1 of 2 concepts"):
                    async for _ in client.concepts(["dog", "cat"]):
                        pass

        with answering((200, {}, lines(START, concept_line("dog")))) as (url, _):
            asyncio.run(ask(url))

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (lines(START, {"type": "error", "error": "the index is gone"}), "the index is gone"),
            (lines(START, {"type": "concept", "name": "dog"}), "not of the expected shape"),
            (lines(START, concept_line("dog"), END), "announced 2 concepts and 2 rows and sent 1 and 1"),
        ],
    )
    def test_what_goes_wrong_is_one_line(self, body: bytes, says: str) -> None:
        with answering((200, {}, body)) as (url, asked), Client(url) as client:
            with pytest.raises(ClipmineError, match=says):
                list(client.concepts(["dog", "cat"]))
            assert len(asked) == 1


class TestRetrieveRemote:
    def test_it_writes_the_very_selection_that_retrieve_writes(
        self,
        url: str,
        served_store: EmbeddingStore,
        tmp_path: Path,
    ) -> None:
        choices: dict[str, Any] = {"k": 6, "rules": Rules(near_duplicates=0.999)}
        here = retrieve(served_store, CONCEPTS, out=tmp_path / "here", **choices)
        there = retrieve_remote(url, CONCEPTS, out=tmp_path / "there", **choices)
        assert there.table().equals(here.table())
        name = "rows/rows_0000.parquet"
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
        for field in ("mode", "k", "templates", "rules", "hits", "rows"):
            assert there.manifest[field] == here.manifest[field]
        assert there.losses == here.losses
        assert there.counts == here.counts
        assert there.manifest["store"]["url"] == url
        assert there.manifest["store"]["identity"] == here.manifest["store"]["identity"]
        assert there.reserve_rows == 0
        assert there.store(served_store.path).rows == served_store.rows
        with pytest.raises(BadInput, match="name the store's folder"):
            there.store()

    def test_a_finished_selection_is_not_asked_for_again(self, url: str, tmp_path: Path) -> None:
        first = retrieve_remote(url, CONCEPTS, out=tmp_path, k=3)
        written = (tmp_path / "manifest.json").stat().st_mtime_ns
        assert retrieve_remote(url, CONCEPTS, out=tmp_path, k=3).manifest == first.manifest
        assert (tmp_path / "manifest.json").stat().st_mtime_ns == written

    def test_concepts_without_rows_are_in_the_manifest(self, url: str, tmp_path: Path) -> None:
        concepts = ConceptList((Concept("red circle"), Concept("blue", class_id="4")))
        selection = retrieve_remote(url, concepts, out=tmp_path, k=3, rules=Rules(min_score=1.0))
        assert selection.counts == {"red circle": 0, "blue": 0}
        assert selection.manifest["concepts"][1]["class_id"] == "4"
        assert selection.table().num_rows == 0

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (WHOLE[:-40], "the stream was cut"),
            (
                lines(
                    START, concept_line("dog"), concept_line("cat"), {**END, "partial": True, "missing": ["image/2"]}
                ),
                "image/2 did not answer",
            ),
        ],
        ids=["cut", "partial"],
    )
    def test_less_than_all_is_no_selection(self, client: Client, tmp_path: Path, body: bytes, says: str) -> None:
        served = client.indexes().model_dump_json().encode()
        with answering((200, {}, served), (200, {}, body)) as (url, asked):
            with pytest.raises(ClipmineError, match=says):
                retrieve_remote(url, ["dog", "cat"], out=tmp_path / "out")
            assert asked == ["GET /indexes", "POST /concepts"]
        with pytest.raises(BadInput, match="unfinished selection"):
            Selection.open(tmp_path / "out")


def test_importing_retrieval_loads_no_client() -> None:
    code = "import sys, retrieval; print([name for name in ('httpx', 'pydantic', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
