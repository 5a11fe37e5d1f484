"""Finished items are known from one file; where it may be stale, from each item's own marker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import Mock

import pytest

import index.store.done_items
from index.parquet import read_parquet
from index.store.compact import compact_store
from index.store.done_items import DoneItems
from index.store.embed import EmbedConfig, finish_store, plan_items, prepare_store
from index.store.embed_item import hash_config
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.markers import Marker, read_marker, write_marker
from index.store.metadata import parquet_bytes
from tests.conftest import embed_store
from tests.folders import file_bytes

Configure = Callable[..., EmbedConfig]


@pytest.fixture
def markers_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the markers that are read one by one."""
    read: list[int] = []

    def note(out: str, number: int) -> Marker | None:
        read.append(number)
        return read_marker(out, number)

    monkeypatch.setattr(index.store.done_items, "read_marker", note)
    return read


def test_a_finished_store_is_known_from_one_file(configure: Configure, markers_read: list[int]) -> None:
    config = configure()
    embed_store(config)
    markers_read.clear()
    before = file_bytes(config.out)
    items = plan_items(config)
    assert prepare_store(config, items) == []
    assert finish_store(config, items).rows == 33
    assert markers_read == []
    assert file_bytes(config.out) == before


def test_a_model_folder_is_looked_at_once_for_all_items(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure()
    embed_store(config)
    items, hashed = plan_items(config), Mock(side_effect=hash_config)
    monkeypatch.setattr(index.store.done_items, "hash_config", hashed)
    assert DoneItems(config.out).undone(items, config) == []
    assert (len(items), hashed.call_count) == (2, 1)


def test_the_copy_of_another_manifest_does_not_count(configure: Configure, markers_read: list[int]) -> None:
    config = configure()
    store = embed_store(config)
    manifest = store.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"read": 20', '"read": 21'))
    markers_read.clear()
    assert sorted(DoneItems(config.out).markers) == [0, 1]
    assert sorted(markers_read) == [0, 1]


@pytest.mark.parametrize(
    "text", ["", "\n", "{}\n", "[]\n", "\xff", '{"parts": "HASH"}\n[0]\n', '{"parts": "HASH"}\n[0, 1, {}]\n']
)
def test_a_damaged_copy_does_not_count(text: str, configure: Configure, markers_read: list[int]) -> None:
    config = configure()
    store = embed_store(config)
    text = text.replace("HASH", index.store.done_items._parts_hash(config.out))
    (store.path / "done/all.jsonl").write_text(text)
    markers_read.clear()
    assert sorted(DoneItems(config.out).markers) == [0, 1]
    assert sorted(markers_read) == [0, 1]


def test_a_marker_that_is_gone_is_not_taken_from_the_copy(configure: Configure) -> None:
    config = configure()
    store = embed_store(config)
    (store.path / "done/0001.json").unlink()
    items = plan_items(config)
    assert prepare_store(config, items) == items[1:]
    assert not (store.path / "done/all.jsonl").exists(), "the item's own marker will change"


def test_where_a_file_has_another_size_the_items_own_marker_decides(configure: Configure) -> None:
    """As after a compaction that was stopped before it wrote the manifest."""
    config = configure()
    store = embed_store(config)
    item = plan_items(config)[0]
    file = store.path / "metadata/metadata_0000.parquet"
    file.write_bytes(parquet_bytes(read_parquet(str(file)).replace_schema_metadata({"more": "of it"})))
    assert DoneItems(config.out).undone([item], config) == [item]
    marker = read_marker(config.out, 0)
    assert marker is not None
    records = {**marker.files, "metadata": replace(marker.files["metadata"], size=file.stat().st_size)}
    own = store.path / "done/0000.json"
    size = own.stat().st_size
    write_marker(config.out, 0, replace(marker, files=records))
    assert own.stat().st_size == size, "a copy does not seem stale by the size of the marker"
    assert DoneItems(config.out).undone([item], config) == []
    items = plan_items(config)
    assert prepare_store(config, items) == []
    finish_store(config, items)
    assert EmbeddingStore.open(config.out).parts[0].files == records


def test_compaction_removes_the_copy_before_it_changes_markers(configure: Configure) -> None:
    config = configure()
    store = embed_store(config)
    forget_rows(EmbeddingStore.open(config.out), row_ids=[3])
    compact_store(config.out)
    assert not (store.path / "done/all.jsonl").exists()
    items = plan_items(config)
    assert prepare_store(config, items) == []
    finish_store(config, items)
    assert DoneItems(config.out).copied == {0, 1}


def test_only_new_items_markers_are_read_when_a_corpus_grows(configure: Configure, markers_read: list[int]) -> None:
    config = configure()
    embed_store(config)
    marker = read_marker(config.out, 1)
    assert marker is not None
    write_marker(config.out, 2, marker)
    markers_read.clear()
    assert sorted(DoneItems(config.out).markers) == [0, 1, 2]
    assert markers_read == [2]
