from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from retrieval.service.metadata_cache import RowLookup, as_row
from tests.retrieval.stores import make_store, random_unit


def test_a_fragment_is_the_rest_of_a_json_object(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(4), caption=['a "quoted" \u2028 caption', "b", "c", "d"])
    lookup = RowLookup(store, 10_000)
    fragments = asyncio.run(lookup.fragments([2, 0], ("key", "caption")))
    assert json.loads(b'{"row_id":0' + fragments[0] + b"}") == {
        "row_id": 0,
        "key": "k0000",
        "caption": 'a "quoted" \u2028 caption',
    }
    assert as_row(fragments[2]) == {"key": "k0002", "caption": "c"}
    assert asyncio.run(lookup.fragments([1], ())) == {1: b""}
    lookup.close()


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
    lookup = RowLookup(store, limit)  # type: ignore[arg-type]
    first = asyncio.run(lookup.fragments([0, 5], ("key",)))
    again = asyncio.run(lookup.fragments([5, 0, 5, 6], ("key",)))
    assert store.read == [[0, 5], read_again]
    assert {row: again[row] for row in first} == first
    lookup.close()


def test_a_column_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    lookup = RowLookup(make_store(tmp_path, random_unit(2)), 10_000)
    with pytest.raises(BadInput, match="colour"):
        asyncio.run(lookup.fragments([0], ("colour",)))
    lookup.close()
