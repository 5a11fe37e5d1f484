"""Look-up files answer as the Parquet files do, and step aside where they cannot."""

from __future__ import annotations

from os import fspath
from pathlib import Path

import numpy as np
import pytest

from index.store import lookup
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.lookup import LOOKUP_COLUMNS, build_lookup, is_lookup_done, plan_lookups
from index.store.metadata import MetadataFiles
from tests.retrieval.stores import make_store, random_unit

ROWS = 20


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddingStore:
    """Three parts of 6 or 7 rows, two of which share a look-up file; captions that are missing, long or foreign."""
    monkeypatch.setattr(lookup, "LOOKUP_ROWS", 14)
    captions = [None, "", "猫と犬", "word " * 2_000, *(f"caption {number}" for number in range(4, ROWS))]
    store = make_store(tmp_path, random_unit(ROWS), parts=3, caption=captions)
    for item in plan_lookups(store.manifest):
        build_lookup(item, fspath(store.path))
    return EmbeddingStore.open(store.path)


@pytest.fixture
def no_parquet(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("Parquet was read")

    monkeypatch.setattr(MetadataFiles, "read", refuse)


def test_files_hold_runs_of_whole_parts(store: EmbeddingStore) -> None:
    items = plan_lookups(store.manifest)
    assert [(item.first, item.last) for item in items] == [(0, 2), (2, 3)]
    assert sum(item.rows for item in items) == ROWS
    assert all(is_lookup_done(item, store.path, store.manifest) for item in items)


@pytest.mark.parametrize("ids", [[0], [3, 3, 2], [19, 0, 13, 7, 1], list(range(ROWS))])
def test_rows_are_what_parquet_gives(store: EmbeddingStore, ids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    found = store.metadata(ids, list(LOOKUP_COLUMNS))
    for file in (store.path / "lookup").iterdir():
        file.unlink()
    expected = EmbeddingStore.open(store.path).metadata(ids, list(LOOKUP_COLUMNS))
    assert found.schema == expected.schema
    assert found.to_pylist() == expected.to_pylist()


@pytest.mark.usefixtures("no_parquet")
def test_parquet_is_not_touched_for_columns_that_are_here(store: EmbeddingStore) -> None:
    assert store.metadata([15, 2], ["key", "caption"]).to_pylist() == [
        {"key": "k0015", "caption": "caption 15"},
        {"key": "k0002", "caption": "猫と犬"},
    ]


def test_other_columns_come_from_parquet(store: EmbeddingStore) -> None:
    assert store.metadata([5], ["key", "captions"]).to_pylist() == [{"key": "k0005", "captions": ["caption 5"]}]


@pytest.mark.usefixtures("no_parquet")
def test_forgotten_rows_are_null_at_once(store: EmbeddingStore) -> None:
    forget_rows(store, row_ids=[4, 16])
    keys = store.metadata(np.array([3, 4, 16, 17]), ["key"])["key"].to_pylist()
    assert keys == ["k0003", None, None, "k0017"]


def test_compaction_leaves_no_trace_in_the_files(store: EmbeddingStore) -> None:
    forget_rows(store, row_ids=[15])
    assert b"caption 15" in (store.path / "lookup" / "lookup_0002.arrow").read_bytes()
    untouched = (store.path / "lookup" / "lookup_0000.arrow").stat().st_mtime_ns
    compact_store(fspath(store.path))
    assert b"caption 15" not in (store.path / "lookup" / "lookup_0002.arrow").read_bytes()
    assert (store.path / "lookup" / "lookup_0000.arrow").stat().st_mtime_ns == untouched
    compacted = EmbeddingStore.open(store.path)
    assert all(is_lookup_done(item, compacted.path, compacted.manifest) for item in plan_lookups(compacted.manifest))


@pytest.mark.parametrize("damage", [b"", b"ARROW1\0\0 and then nothing"])
def test_a_damaged_file_is_passed_over(store: EmbeddingStore, damage: bytes) -> None:
    (store.path / "lookup" / "lookup_0000.arrow").write_bytes(damage)
    opened = EmbeddingStore.open(store.path)
    assert opened.metadata([5], ["key"])["key"].to_pylist() == ["k0005"]
    assert not is_lookup_done(plan_lookups(opened.manifest)[0], opened.path, opened.manifest)


def test_a_file_of_another_store_is_passed_over(store: EmbeddingStore, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", random_unit(ROWS), parts=3, key=[f"other {row}" for row in range(ROWS)])
    (other.path / "lookup").mkdir()
    for file in (store.path / "lookup").iterdir():
        (other.path / "lookup" / file.name).write_bytes(file.read_bytes())
    assert EmbeddingStore.open(other.path).metadata([5], ["key"])["key"].to_pylist() == ["other 5"]
