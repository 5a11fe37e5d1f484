from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput, ClipmineError
from index.store.embedding_store import EmbeddingStore
from retrieval import Client, Rules, retrieve
from retrieval.client.remote import retrieve_remote
from retrieval.concepts import Concept, ConceptList
from tests.retrieval.client.fake_service import CONCEPTS, END, START, WHOLE, Answer, answering, concept_line, lines


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


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
        assert there.table().schema.equals(here.table().schema)
        assert there.table().drop_columns("score").equals(here.table().drop_columns("score"))
        # The service has its own copy of the model, whose place in memory may change the last bits of a score.
        scores = [selection.table(["score"])["score"].to_numpy() for selection in (here, there)]
        assert np.abs(scores[0] - scores[1]).max() < 1e-3
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
        assert not (tmp_path / "out").exists()

    def test_two_classes_of_one_name_come_back_with_their_ids(
        self, url: str, served_store: EmbeddingStore, tmp_path: Path
    ) -> None:
        concepts = ConceptList(
            (
                Concept("shape", ("red circle",), None, "1"),
                Concept("dog"),
                Concept("shape", ("blue square",), None, "2"),
            )
        )
        choices: dict[str, Any] = {"k": 4, "templates": "name", "rules": Rules(cross_concept="keep-all")}
        here = retrieve(served_store, concepts, out=tmp_path / "here", **choices)
        there = retrieve_remote(url, concepts, out=tmp_path / "there", **choices)
        assert there.table().drop_columns("score").equals(here.table().drop_columns("score"))
        assert there.counts == here.counts
        assert set(there.counts) == {"shape (1)", "dog", "shape (2)"}
        by_concept = {loss["rule"]: loss["by_concept"] for loss in there.manifest["losses"]}
        assert by_concept["exact-duplicates"].keys() <= there.counts.keys()

    def test_where_the_services_store_forgot_rows_since_it_is_refused(self, client: Client, tmp_path: Path) -> None:
        served = client.indexes()
        more = served.model_copy(update={"forgotten": served.forgotten + 1})
        before: Answer = (200, {}, served.model_dump_json().encode())
        after: Answer = (200, {}, more.model_dump_json().encode())
        with answering(before, (200, {}, WHOLE), before, after) as (url, _):
            first = retrieve_remote(url, ["dog", "cat"], out=tmp_path / "out")
            assert retrieve_remote(url, ["dog", "cat"], out=tmp_path / "out").manifest == first.manifest
            with pytest.raises(BadInput, match=r"its store forgot 1 row since it was retrieved, .* delete the folder"):
                retrieve_remote(url, ["dog", "cat"], out=tmp_path / "out")
