"""Rows are found by key, URL and SHA-256 sum in one pass over the metadata."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.store import find_rows as module
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.find_rows import find_rows
from index.store.forget import forget_rows
from tests.retrieval.stores import make_store, random_unit

URLS = ["http://a.org/1.jpg", " http://a.org/2.jpg", None, "http://a.org/1.jpg", "https://a.org/1.jpg", ""]


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return make_store(tmp_path, random_unit(6), urls=URLS, parts=3)


@pytest.mark.parametrize("block", [1, 3, 500_000])
def test_all_rows_of_a_value_are_found_and_missing_values_named(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(module, "_BLOCK_ROWS", block)
    sums = store.metadata([5], ["sha256"])["sha256"].to_pylist()
    found = find_rows(
        store, {"url": ["http://a.org/1.jpg ", "ftp://b"], "key": ["k0004"], "sha256": [sums[0].upper(), "0" * 64]}
    )
    assert found["url"].rows.tolist() == [0, 3]
    assert found["url"].missing == ("ftp://b",)
    assert found["key"].rows.tolist() == [4]
    assert found["sha256"].rows.tolist() == [5]
    assert found["sha256"].missing == ("0" * 64,)


def test_texts_are_compared_exactly_but_for_blanks_at_the_ends(store: EmbeddingStore) -> None:
    found = find_rows(store, {"url": ["http://a.org/2.jpg", "http://A.org/1.jpg", "http://a.org/1"]})["url"]
    assert found.rows.tolist() == [1]
    assert found.missing == ("http://A.org/1.jpg", "http://a.org/1")


def test_forgotten_rows_are_found_until_they_are_compacted(store: EmbeddingStore) -> None:
    forget_rows(store, row_ids=[0])
    assert find_rows(store, {"url": ["http://a.org/1.jpg"]})["url"].rows.tolist() == [0, 3]
    compact_store(str(store.path))
    again = EmbeddingStore.open(store.path)
    assert find_rows(again, {"url": ["http://a.org/1.jpg"]})["url"].rows.tolist() == [3]


def test_a_column_without_values_is_told_from_a_value_that_is_missing(tmp_path: Path) -> None:
    without = make_store(tmp_path, random_unit(6), urls=[None] * 6)
    assert not find_rows(without, {"url": ["http://a.org"]})["url"].any_value
    assert find_rows(without, {"key": ["http://a.org"]})["key"].any_value
    assert find_rows(without, {}) == {}
