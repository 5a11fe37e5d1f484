"""Look-up files answer as the Parquet files do, and step aside where they cannot."""

from __future__ import annotations

from os import fspath
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.store import lookup
from index.store.adopt import adopt_store
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.lookup import LOOKUP_COLUMNS, build_lookup, is_lookup_done, plan_lookups
from index.store.metadata import MetadataFiles
from index.store.store_manifest import read_manifest
from tests.index.foreign import write_foreign
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


@pytest.fixture
def adopted(tmp_path: Path) -> EmbeddingStore:
    """Two parts of clip-retrieval's with its NSFW column, which is null in one, and a column of long texts."""
    write_foreign(tmp_path, {0: 4, 1: 3})
    for number, labels in ((0, pa.array(["UNLIKELY", "NSFW", None, "UNSURE"])), (1, pa.nulls(3))):
        path = tmp_path / "metadata" / f"metadata_{number}.parquet"
        table = pq.read_table(path).drop_columns(["NSFW"])
        pq.write_table(
            table.append_column("NSFW", labels).append_column("exif", pa.array(["x" * 200] * len(labels))), path
        )
    adopt_store(tmp_path)
    for item in plan_lookups(read_manifest(fspath(tmp_path))):
        build_lookup(item, fspath(tmp_path))
    return EmbeddingStore.open(tmp_path)


@pytest.mark.usefixtures("no_parquet")
def test_an_adopted_tables_own_columns_are_here_too(adopted: EmbeddingStore) -> None:
    rows = adopted.metadata([3, 5, 1], ["key", "NSFW", "similarity", "url"]).to_pylist()
    assert [(row["key"], row["NSFW"]) for row in rows] == [("0/3", "UNSURE"), ("1/1", None), ("0/1", "NSFW")]
    assert rows[0]["similarity"] == 0.3
    with pytest.raises(AssertionError, match="Parquet was read"):
        adopted.metadata([3], ["exif"])  # too long to be stored twice


def test_they_are_what_parquet_gives(adopted: EmbeddingStore) -> None:
    names = [*LOOKUP_COLUMNS, "NSFW", "similarity"]
    found = adopted.metadata([6, 0, 1], names)
    (adopted.path / "lookup" / "lookup_0000.arrow").unlink()
    expected = EmbeddingStore.open(adopted.path).metadata([6, 0, 1], names)
    assert found.schema == expected.schema
    assert found.to_pylist() == expected.to_pylist()
    assert expected["NSFW"].to_pylist() == [None, "UNLIKELY", "NSFW"]


def test_replaced_metadata_makes_the_file_out_of_date(adopted: EmbeddingStore) -> None:
    path = adopted.path / "metadata" / "metadata_0.parquet"
    table = pq.read_table(path)
    changed = pa.array(["SAFE"] * table.num_rows)
    pq.write_table(table.set_column(table.schema.get_field_index("NSFW"), "NSFW", changed), path)
    adopt_store(adopted.path)
    store = EmbeddingStore.open(adopted.path)
    assert not is_lookup_done(plan_lookups(store.manifest)[0], store.path, store.manifest)
    assert store.metadata([0], ["NSFW"])["NSFW"].to_pylist() == ["SAFE"]


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
