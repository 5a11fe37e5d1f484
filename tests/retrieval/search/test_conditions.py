"""Small stores count as in memory; a large one's files are looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

import retrieval.search.conditions as conditions
from retrieval.search.conditions import IN_MEMORY, conditions_of
from tests.index.vectors import clustered, vector_store


def test_a_small_store_without_an_index_is_searched_as_if_in_memory(tmp_path: Path) -> None:
    assert conditions_of(vector_store(tmp_path, clustered(50)[0]), "image") == IN_MEMORY


def test_vectors_of_a_large_store_that_are_not_in_memory_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = vector_store(tmp_path, clustered(50)[0])
    monkeypatch.setattr(conditions, "_LEAST_BYTES", 0)
    monkeypatch.setattr(conditions, "cold_bytes", lambda files: sum(file.stat().st_size for file in files))
    found = conditions_of(store, "image")
    assert found.cold_rows >= 50 * store.dim * 2
    assert (found.index_bytes, found.cold_index) == (0, 0)
