"""How a store's rows are split into groups of replicas, and how the groups' answers are merged.

A group is a range of rows: the HNSW shards that hold them, and the rows themselves for exact scans. The merged answers
of all groups equal those of one process with the whole store. This module does not import Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.graph.hnsw import falls_short
from index.graph.index_manifest import IndexManifest, index_folder, read_index_manifest
from index.store.embedding_store import EmbeddingStore, Modality
from retrieval.search.planner import IndexCost, SearchPlan, plan_search
from retrieval.search.scan import SPARE, settle_scores
from retrieval.service.generations import generation_name

__all__ = [
    "Group",
    "Part",
    "default_groups",
    "describe_indexes",
    "fitting_groups",
    "merge",
    "most_groups",
    "plan_group",
    "plan_groups",
    "read_indexes",
    "short_queries",
]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]

DEFAULT_GROUPS = 2


@dataclass(frozen=True)
class Part:
    """A group's rows of one modality: start to stop - 1, and the index shards that hold them; () without an index.

    Where shards hold rows grouped by meaning, the two are shares of about equal size, and not the same rows.
    """

    start: int
    stop: int
    shards: tuple[int, ...] = ()


@dataclass(frozen=True)
class Group:
    """The rows that each replica of one group searches, by modality, in one generation of the store and its indexes."""

    number: int
    generation: str
    parts: dict[str, Part]

    @property
    def deployment(self) -> str:
        """Name of the group's deployment."""
        return f"shards-{self.number}"

    def missing(self, modality: Modality) -> str:
        """The group's name in a partial answer that lacks its rows."""
        part = self.parts[modality]
        return f"{self.deployment} (rows {part.start}-{part.stop - 1})"


def read_indexes(store: EmbeddingStore) -> dict[Modality, IndexManifest | None]:
    """The index manifest of each modality that the store can search; None where it has no index."""
    modalities: tuple[Modality, ...] = ("image", "text") if store.has_text else ("image",)
    return {modality: read_index_manifest(index_folder(store, modality)) for modality in modalities}


def most_groups(store: EmbeddingStore) -> int:
    """The largest number of groups: an index shard stays whole; rows without an index are cut anywhere."""
    return min(len(found.shards) if found else store.rows for found in read_indexes(store).values())


def default_groups(store: EmbeddingStore) -> int:
    """The number of groups if the user gives none: DEFAULT_GROUPS, or fewer if the store can't be cut into so many."""
    return min(DEFAULT_GROUPS, most_groups(store))


def plan_groups(store: EmbeddingStore, count: int) -> list[Group]:
    """Cut each modality's index shards, or its rows where it has no index, into `count` ranges of about equal size.

    Raises:
        BadInput: fewer shards (or rows) than groups.
    """
    if not 1 <= count <= most_groups(store):
        raise BadInput(
            f"shard groups {count}: {store.path} can be cut into 1 to {most_groups(store)} groups, the number of "
            "shards of its smallest index (`clipmine index` with smaller --shard-rows makes more)"
        )
    generation = generation_name(store)
    parts = {modality: _cut(store.rows, found, count) for modality, found in read_indexes(store).items()}
    return [
        Group(number, generation, {modality: cut[number] for modality, cut in parts.items()}) for number in range(count)
    ]


def fitting_groups(store: EmbeddingStore, count: int) -> list[Group]:
    """As `plan_groups`; fewer groups where the store's smallest index has fewer shards, so that some have no rows."""
    return plan_groups(store, max(1, min(count, most_groups(store))))


def _cut(rows: int, index: IndexManifest | None, count: int) -> list[Part]:
    if index is None:
        edges = [rows * number // count for number in range(count + 1)]
        return [Part(start, stop) for start, stop in pairwise(edges)]
    shards = len(index.shards)
    if index.layout is None:
        firsts = [shard.first_row for shard in index.shards] + [rows]
    else:  # shards hold rows from anywhere: exact scans are shared out by rows, searches of the index by shards
        firsts = [rows * number // shards for number in range(shards + 1)]
    # Each cut is before the shard whose first row is nearest to an even cut, with at least one shard for every group.
    cuts = [0]
    for number in range(1, count):
        even = rows * number // count
        nearest = min(range(shards), key=lambda shard: abs(firsts[shard] - even))
        cuts.append(min(max(nearest, cuts[-1] + 1), shards - (count - number)))
    cuts.append(shards)
    return [Part(firsts[low], firsts[high], tuple(range(low, high))) for low, high in pairwise(cuts)]


def plan_group(
    store: EmbeddingStore,
    groups: Sequence[Group],
    index: IndexManifest | None,
    modality: Modality,
    queries: int,
    k: int,
    method: str | None,
    cores: int,
    device: str,
) -> SearchPlan:
    """The planner's choice for the largest group, which decides the time. Raises BadInput as the planner does."""
    part = max((group.parts[modality] for group in groups), key=lambda part: part.stop - part.start)
    rows = max(part.stop - part.start, 1)
    cost = None
    if index is not None:
        # Rows beyond the indexed ones are with the last group.
        tail = max(part.stop - max(index.rows, part.start), 0)
        shards = len(part.shards)
        cost = IndexCost(shards, index.recall.ef_search, tail, index.recall.visited(shards, k))
    return plan_search(rows, store.dim, queries, k, cost, device, cores=cores, method=method)


def merge(
    store: EmbeddingStore,
    modality: Modality,
    queries: npt.NDArray[np.floating[Any]],
    answers: Sequence[tuple[Floats, RowIds]],
    k: int,
    exact: bool,
) -> tuple[Floats, RowIds]:
    """The k best of the groups' answers (scores and rows, [q, k] each), in the order in which one process returns them.

    Near ties of exact answers are ordered by recomputing their scores from the store's vectors.
    """
    scores = np.concatenate([scores for scores, _ in answers], axis=1)
    rows = np.concatenate([rows for _, rows in answers], axis=1)
    best = np.argsort(-scores, axis=1, kind="stable")[:, : k + SPARE if exact else k]
    scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
    if exact and len(answers) > 1:
        settle_scores(store, modality, queries, scores, rows, k)
    return scores[:, :k], rows[:, :k]


def short_queries(rows: RowIds) -> npt.NDArray[np.int64]:
    """The positions of the queries that got fewer than k rows. rows: [q, k], -1 where there is none."""
    return np.flatnonzero(rows[:, -1] < 0) if falls_short(rows) else np.empty(0, np.int64)


def describe_indexes(store: EmbeddingStore) -> list[dict[str, Any]]:
    """The fields of `retrieval.service.schemas.IndexInfo` for each modality, from the manifests alone."""
    return [
        {
            "modality": modality,
            "rows": store.rows,
            "indexed": None if index is None else index.rows,
            "kind": "exact" if index is None else "hnsw",
            "shards": 1 if index is None else sum(shard.indexed > 0 for shard in index.shards),
            "ef_search": None if index is None else index.recall.ef_search,
            "recall_at_10": None if index is None else index.recall.recall_at_10,
            "least_recall_at_10": None if index is None else index.recall.least_recall_at_10,
            "forgotten_since_recall": None if index is None else len(store.forgotten) - index.recall.forgotten,
        }
        for modality, index in read_indexes(store).items()
    ]
