"""The right answers, computed without the service: a store, questions, and a check of answers.

Graph searches are done by faiss and exact scans in float64, each for every set of groups that may have answered. For
texts, scores are compared instead of rows, since the number of threads changes the last bits of their vectors.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.synthetic_store import make_store
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from index.graph.build import IndexConfig, build_index_item, finish_index, plan_index_items
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import write_manifest
from index.store.store_model import remember_model
from jobs.serve_ray.groups import Group, read_indexes

ROOT = Path(__file__).resolve().parents[2]
ROWS, SHARDS, GROUPS, K, QUERIES = 20_000, 4, 2, 10, 240
TEXT_TOLERANCE = 2e-3  # fp16 vectors that differ in their last bits


@dataclass
class Question:
    """A request's body, and the right answer for each set of groups: row ids, or scores for a text."""

    body: dict[str, Any]
    expected: dict[frozenset[int], list[Any]]
    text: bool = False


def indexed_store(folder: Path) -> EmbeddingStore:
    """A store of synthetic vectors with an image index; it names the small CLIP, so that texts can be encoded."""
    store, _ = make_store(folder, ROWS)
    spec = ModelSpec(model_dir=str(ROOT / "scenes" / "models" / "clip"))
    write_manifest(str(folder), replace(store.manifest, model=load_encoder(spec, "cpu").fingerprint))
    remember_model(folder, spec)
    config = IndexConfig(str(folder), "image", queries=100, shard_rows=ROWS // SHARDS)
    for item in plan_index_items(config):
        build_index_item(item, config)
    finish_index(config)
    return EmbeddingStore.open(folder)


def make_questions(store: EmbeddingStore, groups: list[Group]) -> list[Question]:
    """Questions in the order in which clients ask them, with their right answers."""
    captions = np.array(store.embeddings("text", 0)[:QUERIES], np.float32)
    texts = [f"a red ball and {number} blue cubes" for number in range(QUERIES)]
    encoder = load_encoder(ModelSpec(model_dir=str(ROOT / "scenes" / "models" / "clip")), "cpu")
    wide = captions / np.linalg.norm(captions, axis=1, keepdims=True)
    encoded = encoder.encode_queries(texts)[0].astype(np.float64)
    sets = [frozenset(some) for some in chain(*(combinations(range(GROUPS), n) for n in range(1, GROUPS + 1)))]
    exact = {some: exact_answer(store, groups, some, captions)[1] for some in sets}
    graph = {some: graph_answer(store, groups, some, wide) for some in sets}
    scores = {some: exact_answer(store, groups, some, encoded)[0] for some in sets}
    questions = []
    for number in range(QUERIES):
        kind = number % 8
        query: dict[str, Any] = {"embedding_b64": base64.b64encode(captions[number].astype("<f4").tobytes()).decode()}
        table: dict[frozenset[int], npt.NDArray[Any]]
        table, method = (graph, "hnsw") if kind < 6 else (exact, "exact")
        if kind == 7:
            query, table = {"text": texts[number]}, scores
        body = {"queries": [query], "k": K, "method": method, "columns": ["key"]}
        questions.append(Question(body, {some: table[some][number].tolist() for some in sets}, kind == 7))
    return questions


def exact_answer(
    store: EmbeddingStore, groups: list[Group], some: frozenset[int], queries: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """float64 scores and row ids [q, K] among the rows of some groups; equal scores are ordered by row id."""
    vectors = store.embeddings("image", 0).astype(np.float64)
    scores = queries.astype(np.float64) @ vectors.T
    served = np.zeros(store.rows, np.bool_)
    for number in some:
        part = groups[number].parts["image"]
        served[part.start : part.stop] = True
    scores[:, ~served] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return np.take_along_axis(scores, order, axis=1), order


def graph_answer(
    store: EmbeddingStore, groups: list[Group], some: frozenset[int], queries: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Row ids [q, K] that faiss finds in the graphs of some groups."""
    import faiss

    index = read_indexes(store)["image"]
    assert index is not None
    found = []
    for number in sorted(some):
        for shard in groups[number].parts["image"].shards:
            record = index.shards[shard]
            graph = faiss.read_index(str(store.path / "index" / "image" / record.file))
            assert record.indexed == record.rows  # so that a node's number is its row's position
            ef = faiss.SearchParametersHNSW(efSearch=max(index.recall.ef_search, K))
            scores, nodes = graph.search(queries, K, params=ef)
            found.append((scores, nodes + record.first_row))
    scores, rows = (np.concatenate([answer[part] for answer in found], axis=1) for part in (0, 1))
    best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    ids: npt.NDArray[np.int64] = np.take_along_axis(rows, best, axis=1)
    return ids


def what_is_wrong(question: Question, answer: dict[str, Any]) -> str | None:
    """None when the answer is right for the groups that answered and names the others; else what is wrong."""
    missing = {int(found[1]) for name in answer["missing"] if (found := re.match(r"shards-(\d+) ", name))}
    if answer["partial"] != bool(answer["missing"]) or len(missing) != len(answer["missing"]):
        return f"partial is {answer['partial']}, missing {answer['missing']}"
    expected = question.expected.get(frozenset(range(GROUPS)) - missing)
    if expected is None:
        return f"no group answered: {answer['missing']}"
    (result,) = answer["results"]
    rows = result["rows"]
    if any(row["key"] != str(row["row_id"]) for row in rows):
        return f"metadata of other rows: {rows}"
    if question.text:
        scores = [row["score"] for row in rows]
        right = len(scores) == K and np.allclose(scores, expected, atol=TEXT_TOLERANCE)
        return None if right else f"text, missing {sorted(missing)}: scores {scores}, not {expected}"
    ids = [row["row_id"] for row in rows]
    if ids == expected:
        return None
    return f"{question.body['method']}, missing {sorted(missing)}: rows {ids}, not {expected}"
