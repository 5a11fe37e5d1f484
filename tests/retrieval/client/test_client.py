"""The blocking client with a real service, and with servers that refuse."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from index.errors import BadInput, ClipmineError
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from retrieval import Client, Rules, load_concepts, retrieve
from retrieval.search.retriever import Retriever
from retrieval.service.schemas import ColumnFilter, Filters, SearchResponse
from retrieval.service.settings import Settings
from tests.retrieval.client.fake_service import CONCEPTS
from tests.serving import Serve


def ids(found: SearchResponse) -> list[list[int]]:
    return [[row.row_id for row in result.rows] for result in found.results]


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


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
        assert by_bytes[0] == by_path[0] == by_picture[0] == by_vector[0] == 5
        # The store's row was encoded in another batch, which may change the last bits of its float16 vector.
        scores = [[row.score for row in result.rows] for result in found.results]
        assert np.abs(np.array(scores[1:4]) - np.array(scores[4])).max() < 2e-3
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

    def test_what_the_service_refuses_is_bad_input_in_its_own_words(self, client: Client) -> None:
        with pytest.raises(BadInput, match=r"k is 1000: at most 33 here \(400\)"):
            client.search(["a"], 1000)
        with pytest.raises(BadInput, match="no metadata column 'color'"):
            client.search(["a"], columns=["color"])
        with pytest.raises(BadInput, match="no row 33"):
            client.row(33)

    def test_results_are_a_data_frame_with_key_and_caption(self, client: Client, served_store: EmbeddingStore) -> None:
        found = client.search(["a red circle", 4], k=3)
        frame = found.to_pandas()
        assert list(frame.columns[:6]) == ["query", "rank", "row_id", "score", "key", "shard"]
        assert list(zip(frame["query"], frame["rank"], strict=True)) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]
        captions = served_store.metadata(frame["row_id"].to_numpy(), ["caption"])["caption"].to_pylist()
        assert frame["caption"].tolist() == captions
        assert "near_duplicates" in client.search([4], k=3, mark_duplicates=0.9).to_pandas()
        assert repr(found) == "SearchResponse(2 queries, 6 rows)"
        assert repr(found.results) == "[QueryResult(3 rows), QueryResult(3 rows)]"
        assert repr(client) == f"Client({client.url!r})"


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
        rows = [(row.row_id, row.rank, row.prompt) for answer in answers for row in answer.rows]
        table = selection.table(["row_id", "rank", "prompt", "score"])
        assert rows == [(row["row_id"], row["rank"], row["prompt"]) for row in table.to_pylist()]
        scores = [row.score for answer in answers for row in answer.rows]
        # The service has its own copy of the model, whose place in memory may change the last bits of a score.
        assert np.abs(np.array(scores) - table["score"].to_numpy()).max() < 1e-3
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


class TestTokens:
    def test_a_token_opens_the_service(self, serve: Serve, served_store: EmbeddingStore) -> None:
        with serve(served_store, Settings(tokens=("sesame",))) as url:
            with Client(url, token="sesame") as client:
                assert client.search(["a"], 1).results
            with Client(url) as client, pytest.raises(BadInput, match="CLIPMINE_TOKEN"):
                client.search(["a"], 1)


def test_importing_retrieval_loads_no_client() -> None:
    code = "import sys, retrieval; print([name for name in ('httpx', 'pydantic', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
