"""Questions asked of a store while it changes: of an open index, and of the service over HTTP."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from index.graph.search_index import HnswIndex
from tests.changes.answers import NEAR, Counts, Question, Visible, check
from tests.changes.server import Server
from tests.changes.world import World, width

QUERIES = 8
# With so large an efSearch a walk of a small graph reaches every node that it can.
ALL_NODES = 4_000


class Asker:
    """Asks random questions, often with the vectors of forgotten rows; raises AssertionError at a wrong answer."""

    def __init__(self, world: World, counts: Counts) -> None:
        self.world, self.counts = world, counts

    def queries(self, rng: np.random.Generator, modality: str, gone: Sequence[int]) -> npt.NDArray[np.float32]:
        """[QUERIES, d]: texts, and vectors of rows that were forgotten, as far as there are any."""
        chosen = self.world.queries[rng.integers(0, len(self.world.queries), QUERIES)].astype(np.float32)
        if gone and rng.random() < 0.6:
            rows = rng.choice(np.array(sorted(gone)), QUERIES // 2)
            chosen[: QUERIES // 2] = self.world.vectors(modality)[rows]
        unit: npt.NDArray[np.float32] = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
        return unit

    def ask_index(self, rng: np.random.Generator, index: HnswIndex, states: Sequence[Visible]) -> None:
        """Search an open index, with its own efSearch or one that reaches all nodes, sometimes without some rows."""
        states = [replace(state, rows=index.store.rows) for state in states]  # those that it was opened with
        gone = sorted(states[-1].gone)
        queries, k = self.queries(rng, index.modality, gone), int(rng.choice([1, 10, 10, 40]))
        everything = bool(rng.random() < 0.3)
        allowed = self._without_some(rng, states) if rng.random() < 0.4 else None
        exclude = None if allowed is None else np.flatnonzero(~allowed[: index.store.rows]).astype(np.int64)
        scores, rows = index.search(queries, k, ALL_NODES if everything else None, exclude=exclude)
        found = [(some[some >= 0], given[some >= 0]) for some, given in zip(rows, scores, strict=True)]
        way = "index, all nodes" if everything else "index" if allowed is None else "index, excluding"
        self._check(way, Question(queries, index.modality, k, allowed), found, states)

    def ask_service(self, rng: np.random.Generator, server: Server, states: Sequence[Visible]) -> None:
        """One question of each of some kinds over HTTP."""
        kinds = [self._search, self._rows, self._excluding, self._filtered, self._own_rows, self._knn_service]
        for kind in [self._search, *rng.choice(np.array(kinds, object), 2, replace=False)]:
            kind(rng, server, states)

    def _search(self, rng: np.random.Generator, server: Server, states: Sequence[Visible]) -> None:
        modality, method = str(rng.choice(["image", "image", "text"])), rng.choice(["", "hnsw", "exact"])
        if modality == "text" and method == "hnsw":
            method = ""
        options: dict[str, Any] = {"method": str(method)} if method else {}
        self._post(rng, server, states, modality, int(rng.choice([1, 10, 30])), f"service {method}".strip(), **options)

    def _excluding(self, rng: np.random.Generator, server: Server, states: Sequence[Visible]) -> None:
        allowed = self._without_some(rng, states)
        exclude = np.flatnonzero(~allowed[: states[0].rows]).tolist()
        allowed[states[0].rows :] = True
        filters = {"exclude": exclude}
        self._post(rng, server, states, "image", 10, "service, excluding", allowed, filters=filters, method="hnsw")

    def _filtered(self, rng: np.random.Generator, server: Server, states: Sequence[Visible]) -> None:
        rows = np.arange(self.world.most)
        if rng.random() < 0.5:
            least = int(rng.integers(4, 9))
            allowed = np.array([width(row) >= least for row in rows.tolist()])
            condition: dict[str, Any] = {"column": "width", "op": "ge", "value": least}
        else:
            cluster = int(rng.integers(self.world.clusters))
            allowed = self.world.cluster[: self.world.most] == cluster
            condition = {"column": "caption", "op": "contains", "value": f"thing {cluster},"}
        filters = {"columns": [condition]}
        self._post(rng, server, states, "image", 10, "service, filtered", allowed, filters=filters)

    def _own_rows(self, rng: np.random.Generator, server: Server, states: Sequence[Visible]) -> None:
        there = np.flatnonzero(states[0].mask())
        there = there[[int(row) not in states[-1].gone for row in there]]
        rows = rng.choice(there, 4).tolist()
        answer = self._ask(server, {"queries": [{"row_id": row} for row in rows], "k": 10})
        question = Question(self.world.image[rows], "image", 10, own_rows=tuple(rows))
        self._check("service, rows", question, self._read(answer, states), states)

    def _rows(self, rng: np.random.Generator, server: Server, states: Sequence[Visible]) -> None:
        for row in rng.integers(0, states[0].rows, 2).tolist():
            answer = server.client.get(f"/rows/{row}")
            gone = {row in state.gone for state in states}
            assert answer.status_code in {404 if each else 200 for each in gone}, (row, answer.text)
            if answer.status_code == 200:
                self._same_row(answer.json() | {"row_id": row})
        asked = rng.integers(0, states[0].rows, 5).tolist()
        for told in server.client.post("/metadata", json={"ids": asked}).json():
            gone = {told["id"] in state.gone for state in states}
            assert bool(told["metadata"]) in {not each for each in gone}, told
            if told["metadata"]:
                assert told["metadata"]["url"] == self.world.metadata(told["id"])["url"], told

    def _knn_service(self, rng: np.random.Generator, server: Server, states: Sequence[Visible]) -> None:
        queries = self.queries(rng, "image", sorted(states[-1].gone))[:1]
        body = {"embedding_input": queries[0].tolist(), "modality": "image", "num_images": 10, "num_result_ids": 20}
        answer = server.client.post("/knn-service", json=body)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        for row in told[:10]:
            assert row["url"] == self.world.metadata(row["id"])["url"], row
        found = [([row["id"] for row in told], [row["similarity"] for row in told])]
        self._check("service", Question(queries, "image", 20), found, states)

    def _post(
        self,
        rng: np.random.Generator,
        server: Server,
        states: Sequence[Visible],
        modality: str,
        k: int,
        way: str,
        allowed: npt.NDArray[np.bool_] | None = None,
        **options: Any,
    ) -> None:
        queries = self.queries(rng, modality, sorted(states[-1].gone))
        sent = [{"embedding_b64": base64.b64encode(query.astype("<f4").tobytes()).decode()} for query in queries]
        answer = self._ask(server, {"queries": sent, "k": k, "modality": modality, **options})
        question = Question(queries, modality, k, allowed, options.get("method") == "exact")
        self._check(way, question, self._read(answer, states), states)

    def _ask(self, server: Server, body: dict[str, Any]) -> dict[str, Any]:
        answer = server.client.post("/search", json=body)
        assert answer.status_code == 200, (answer.status_code, answer.text, server.log()[-2000:])
        told: dict[str, Any] = answer.json()
        return told

    def _read(self, answer: dict[str, Any], states: Sequence[Visible]) -> list[tuple[list[int], list[float]]]:
        certain = frozenset.intersection(*(state.gone for state in states))
        for result in answer["results"]:
            for row in result["rows"]:
                # A row that is being forgotten may be shown without its metadata, or with it, but not as another one.
                if row["row_id"] in certain or row["key"] is not None:
                    self._same_row(row)
        return [
            ([row["row_id"] for row in result["rows"]], [row["score"] for row in result["rows"]])
            for result in answer["results"]
        ]

    def _same_row(self, row: dict[str, Any]) -> None:
        expected = self.world.metadata(row["row_id"])
        assert {name: row[name] for name in expected} == expected, row

    def _without_some(self, rng: np.random.Generator, states: Sequence[Visible]) -> npt.NDArray[np.bool_]:
        """bool [most]: all rows but some random ones, a range or a cluster."""
        allowed, rows = np.ones(self.world.most, np.bool_), states[0].rows
        kind = rng.integers(3)
        if kind == 0:
            allowed[rng.integers(0, rows, int(rng.integers(1, 60)))] = False
        elif kind == 1:
            first = int(rng.integers(0, rows))
            allowed[first : min(rows, first + 150)] = False
        else:
            allowed[:rows][self.world.cluster[:rows] == rng.integers(self.world.clusters)] = False
        return allowed

    def _check(self, way: str, question: Question, found: Any, states: Sequence[Visible]) -> None:
        recall, wrong = check(question, found, states)
        assert not wrong, f"{way}: {wrong}"
        gone = self._are_gone(question.queries)
        self.counts.saw(way, recall[~gone])
        self.counts.saw(f"{way}{NEAR}", recall[gone])

    def _are_gone(self, queries: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.bool_]:
        """bool [q]: which queries are vectors of forgotten rows, not texts."""
        near = queries @ self.world.queries.T.astype(np.float32) > 1 - 1e-3
        return np.asarray(~near.any(axis=1), np.bool_)
