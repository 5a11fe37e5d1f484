"""A shard is written whole or not at all, over the rows that it was named for."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.errors import DiskFull, StoreInvalid
from index.graph import build_shard
from index.graph.build import IndexConfig, build_index_item, plan_index_items, undone_index_items
from index.graph.build_shard import build_hash
from index.graph.nodes import plan_nodes
from index.graph.search_index import open_index
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import read_manifest, write_manifest
from tests.folders import file_bytes
from tests.index.vectors import Halves, build, clustered, vector_store
from tests.retrieval.stores import forget


@pytest.fixture(scope="module")
def world() -> tuple[Halves, Halves]:
    return clustered(600)


@pytest.fixture
def store(tmp_path: Path, world: tuple[Halves, Halves]) -> EmbeddingStore:
    return vector_store(tmp_path, *world)


def _config(store: EmbeddingStore, **changes: object) -> IndexConfig:
    config = IndexConfig(str(store.path), "image", shard_rows=250, queries=20)
    return replace(config, **changes)  # type: ignore[arg-type]  # fields of IndexConfig


def test_a_shard_is_named_by_its_rows_how_it_is_built_and_what_was_forgotten(store: EmbeddingStore) -> None:
    items = [*plan_index_items(_config(store)), *plan_index_items(_config(store, M=16))]
    before = [build_hash(store, item) for item in items]
    assert len(set(before)) == 6
    forget(store, [260])
    assert [new == old for new, old in zip((build_hash(store, item) for item in items), before, strict=True)] == [
        True,
        False,
        True,
    ] * 2
    record = build_shard.build_shard(items[1], str(store.path))
    assert record.file == f"{build_hash(store, items[1])[:16]}.faiss"
    assert (record.rows, record.indexed, record.forgotten) == (250, 249, 1)


def test_a_full_disk_in_the_middle_of_a_build_leaves_the_old_index(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(_config(store))
    folder = store.path / "index" / "image"
    files = file_bytes(folder)

    def no_space(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("Error: 'No space left on device'")

    monkeypatch.setattr(build_shard, "write_graph", no_space)
    with pytest.raises(DiskFull, match=r"\.faiss: no space left on the disk; free some and run the same command again"):
        build(_config(store, M=16))
    left = {name for name in file_bytes(folder) if name.endswith((".faiss", ".json", ".partial"))}
    assert left == {name for name in files if name.endswith((".faiss", ".json"))}
    open_index(store, "image", checksums=True)


def test_rows_that_are_forgotten_during_a_build_do_not_stop_it(
    store: EmbeddingStore, world: tuple[Halves, Halves], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget_meanwhile(*args: object) -> object:
        nodes = plan_nodes(*args)  # type: ignore[arg-type]  # as it is called
        forget(store, [7])
        return nodes

    monkeypatch.setattr(build_shard, "plan_nodes", forget_meanwhile)
    assert build(_config(store)).shards == 3
    index = open_index(EmbeddingStore.open(store.path), "image")
    assert not (index.search(world[0][7:8].astype(np.float32), 20)[1] == 7).any()
    assert (index.search(world[0][8:9].astype(np.float32), 1)[1] == 8).all()


def test_vectors_that_are_replaced_during_a_build_stop_it(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace_meanwhile(*args: object) -> object:
        nodes = plan_nodes(*args)  # type: ignore[arg-type]  # as it is called
        np.lib.format.open_memmap(store.part_file(0, "image"), "r+")[7] = 0
        return nodes

    monkeypatch.setattr(build_shard, "plan_nodes", replace_meanwhile)
    with pytest.raises(StoreInvalid, match="vectors changed while they were indexed"):
        build(_config(store))


_KILLED = """
import os, sys
from index.graph import build_shard
from index.graph.build import IndexConfig, build_index_item, plan_index_items
build_shard.write_marker = lambda *_: os._exit(9)
config = IndexConfig(sys.argv[1], "image", shard_rows=250, queries=20)
build_index_item(plan_index_items(config)[0], config)
"""


def test_a_build_that_dies_before_the_marker_leaves_no_finished_shard(store: EmbeddingStore) -> None:
    assert subprocess.run([sys.executable, "-c", _KILLED, store.path], check=False).returncode == 9
    config = _config(store)
    assert len(undone_index_items(config)) == 3
    build(config)
    open_index(store, "image", checksums=True)


def test_a_shard_that_is_there_is_not_built_again(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(store)
    item = plan_index_items(config)[0]
    first = build_index_item(item, config)
    monkeypatch.setattr(build_shard, "build_graph", None)
    assert build_index_item(item, config) == first


def test_a_part_that_is_not_the_one_of_the_plan_has_another_name(store: EmbeddingStore) -> None:
    before = [item.recipe for item in plan_index_items(_config(store))]
    manifest = read_manifest(str(store.path))
    first = manifest.parts[0]  # 200 rows
    files = {**first.files, "image": replace(first.files["image"], sha256="1" * 64)}
    write_manifest(str(store.path), replace(manifest, parts=(replace(first, files=files), *manifest.parts[1:])))
    after = [item.recipe for item in plan_index_items(_config(store))]
    assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, True]
