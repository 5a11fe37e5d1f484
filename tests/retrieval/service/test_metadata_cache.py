from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from retrieval.service.limits import OverLimit
from retrieval.service.metadata_cache import RowLookup, as_row
from retrieval.service.settings import Settings
from retrieval.service.turns import FairPool
from tests.retrieval.stores import make_store, random_unit

POOL = FairPool(1, "lookup")


def test_a_fragment_is_the_rest_of_a_json_object(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(4), caption=['a "quoted" \u2028 caption', "b", "c", "d"])
    lookup = RowLookup(store, Settings(cache_bytes=10_000), POOL)
    fragments = asyncio.run(lookup.fragments([2, 0], ("key", "caption")))
    assert json.loads(b'{"row_id":0' + fragments[0] + b"}") == {
        "row_id": 0,
        "key": "k0000",
        "caption": 'a "quoted" \u2028 caption',
    }
    assert as_row(fragments[2]) == {"key": "k0002", "caption": "c"}
    assert asyncio.run(lookup.fragments([1], ())) == {1: b""}


class CountedStore:
    """A store that notes which rows are read."""

    def __init__(self, store: EmbeddingStore) -> None:
        self._store = store
        self.read: list[list[int]] = []

    def metadata(self, row_ids: list[int], columns: list[str]) -> Any:
        self.read.append(row_ids)
        return self._store.metadata(row_ids, columns)


@pytest.mark.parametrize(("limit", "read_again"), [(10_000, [6]), (1, [5, 0, 6])])
def test_rows_are_kept_up_to_a_limit_and_not_read_again(tmp_path: Path, limit: int, read_again: list[int]) -> None:
    store = CountedStore(make_store(tmp_path, random_unit(8)))
    lookup = RowLookup(store, Settings(cache_bytes=limit), POOL)  # type: ignore[arg-type]
    first = asyncio.run(lookup.fragments([0, 5], ("key",)))
    again = asyncio.run(lookup.fragments([5, 0, 5, 6], ("key",)))
    assert store.read == [[0, 5], read_again]
    assert {row: again[row] for row in first} == first


def test_a_column_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    lookup = RowLookup(make_store(tmp_path, random_unit(2)), Settings(), POOL)
    with pytest.raises(BadInput, match="colour"):
        asyncio.run(lookup.fragments([0], ("colour",)))


def test_an_answer_is_bounded_in_bytes(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(600), caption=["x" * 100] * 600)
    lookup = RowLookup(store, Settings(max_answer_bytes=50_000), POOL)
    with pytest.raises(
        OverLimit, match="the metadata of 600 rows has more than 50,000 bytes; ask for fewer"
    ) as refused:
        asyncio.run(lookup.fragments(range(600), ("caption",)))
    assert refused.value.bound == "max_answer_bytes"
    assert len(asyncio.run(lookup.fragments(range(300), ("caption",)))) == 300
    with pytest.raises(OverLimit, match="the metadata of 600 rows"):  # of two queries that find the same
        asyncio.run(lookup.fragments([*range(300), *range(300)], ("caption",)))


def test_other_orders_of_the_columns_are_counted_too(tmp_path: Path) -> None:
    lookup = RowLookup(make_store(tmp_path, random_unit(2)), Settings(cache_bytes=2_000), POOL)
    for number in range(50):
        asyncio.run(lookup.fragments([], ("key", "shard", "caption")[: 1 + number % 3]))
        asyncio.run(lookup.fragments([number % 2], ("key", "shard", "caption")[: 1 + number % 3]))
    assert lookup._size <= 2_000
    assert sum(map(len, lookup._known.values())) <= 2_000 // 160
