"""Groups of shards: how a store is cut, and how the groups' answers are merged."""

from __future__ import annotations

import numpy as np
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.groups import (
    Part,
    default_groups,
    describe_indexes,
    fitting_groups,
    merge,
    most_groups,
    plan_group,
    plan_groups,
    read_indexes,
    short_queries,
)
from retrieval.search.scan import scan
from retrieval.service.generations import generation_name


def test_a_store_is_cut_at_its_index_shards(sharded_store: EmbeddingStore) -> None:
    two = plan_groups(sharded_store, 2)
    assert [group.parts["image"] for group in two] == [Part(0, 11, (0,)), Part(11, 33, (1, 2))]
    assert [group.parts["text"].shards for group in plan_groups(sharded_store, 3)] == [(0,), (1,), (2,)]
    with pytest.raises(BadInput, match=r"shard groups 4: .* can be cut into 1 to 3"):
        plan_groups(sharded_store, 4)


def test_a_service_with_more_groups_than_shards_uses_some_of_them(sharded_store: EmbeddingStore) -> None:
    assert fitting_groups(sharded_store, 5) == plan_groups(sharded_store, 3)
    assert fitting_groups(sharded_store, 2) == plan_groups(sharded_store, 2)
    assert {group.generation for group in fitting_groups(sharded_store, 5)} == {generation_name(sharded_store)}


def test_rows_without_an_index_are_cut_evenly(small_store: EmbeddingStore) -> None:
    assert [group.parts["image"] for group in plan_groups(small_store, 2)] == [Part(0, 16), Part(16, 33)]


def test_there_are_two_groups_by_default_as_far_as_the_index_has_shards(
    sharded_store: EmbeddingStore, small_store: EmbeddingStore
) -> None:
    assert (most_groups(sharded_store), default_groups(sharded_store)) == (3, 2)
    assert (most_groups(small_store), default_groups(small_store)) == (33, 2)


def test_groups_are_named_by_their_rows_where_they_are_missing(sharded_store: EmbeddingStore) -> None:
    first, second = plan_groups(sharded_store, 2)
    assert first.missing("image") == "shards-0 (rows 0-10)"
    assert second.missing("text") == "shards-1 (rows 11-32)"


def test_merged_answers_are_those_of_a_scan_of_the_whole_store(sharded_store: EmbeddingStore) -> None:
    queries = sharded_store.gather("text", [1, 12, 30]).astype(np.float32)
    whole_scores, whole_rows = scan(sharded_store, "image", queries, 6)
    parts = [group.parts["image"] for group in plan_groups(sharded_store, 3)]
    answers = [scan(sharded_store, "image", queries, 6, start=part.start, stop=part.stop) for part in parts]
    scores, rows = merge(sharded_store, "image", queries, answers, 6, exact=True)
    assert np.array_equal(rows, whole_rows)
    np.testing.assert_allclose(scores, whole_scores, rtol=0, atol=1e-6)  # sums in blocks of another size


def test_the_plan_is_that_of_the_largest_group(sharded_store: EmbeddingStore) -> None:
    index = read_indexes(sharded_store)["image"]
    groups = plan_groups(sharded_store, 2)
    plan = plan_group(sharded_store, groups, index, "image", 1, 5, "exact", 1, "cpu")
    assert plan.method == "exact"
    smallest = plan_group(sharded_store, groups[:1], index, "image", 1, 5, "exact", 1, "cpu")
    assert plan.exact_seconds >= smallest.exact_seconds


def test_queries_with_too_few_rows_are_found() -> None:
    rows = np.array([[4, 2, 1], [5, 3, -1], [-1, -1, -1]])
    assert short_queries(rows).tolist() == [1, 2]
    assert short_queries(rows[:1]).tolist() == []


def test_indexes_are_described_from_their_manifests(sharded_store: EmbeddingStore, small_store: EmbeddingStore) -> None:
    image, text = describe_indexes(sharded_store)
    assert (image["modality"], image["kind"], image["shards"], image["rows"]) == ("image", "hnsw", 3, 33)
    assert text["recall_at_10"] is not None
    assert [index["kind"] for index in describe_indexes(small_store)] == ["exact", "exact"]
