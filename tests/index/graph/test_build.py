"""Shards are built beside those in use: a stopped build goes on with the same bytes, and what has not changed stays."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.errors import BadInput, StoreInvalid
from index.graph.build import (
    IndexConfig,
    build_index_item,
    drop_damaged_shards,
    finish_index,
    plan_index_items,
    undone_index_items,
)
from index.graph.search_index import open_index
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from tests.folders import file_bytes, file_times
from tests.index.vectors import Halves, build, clustered, grow, vector_store
from tests.retrieval.stores import forget


@pytest.fixture(scope="module")
def world() -> tuple[Halves, Halves]:
    return clustered(2_000)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, world: tuple[Halves, Halves]) -> EmbeddingStore:
    """Indexed in shards of 900, 900 and 200 rows; its parts have 667 rows. Shared, do not change it."""
    store = vector_store(tmp_path_factory.mktemp("built"), *world)
    build(_config(store))
    return store


@pytest.fixture
def store(built: EmbeddingStore, tmp_path: Path) -> EmbeddingStore:
    """As `built`, for a test to change."""
    shutil.copytree(built.path, tmp_path / "store")
    return EmbeddingStore.open(tmp_path / "store")


def _config(store: EmbeddingStore, **changes: object) -> IndexConfig:
    config = IndexConfig(str(store.path), "image", shard_rows=900, queries=50)
    return replace(config, **changes)  # type: ignore[arg-type]  # fields of IndexConfig


def _bare(store: EmbeddingStore) -> IndexConfig:
    """As `clipmine index STORE` without options."""
    return IndexConfig(str(store.path))


def _folder(store: EmbeddingStore) -> Path:
    return store.path / "index" / "image"


def _graphs(store: EmbeddingStore) -> list[str]:
    """Names of the graphs that index.json lists, in the order of the shards."""
    shards = json.loads((_folder(store) / "index.json").read_text())["shards"]
    return [shard["files"]["faiss"]["name"] for shard in shards]


def test_a_broken_off_build_goes_on_and_gives_the_same_bytes(
    tmp_path: Path, world: tuple[Halves, Halves], built: EmbeddingStore
) -> None:
    broken = vector_store(tmp_path, *world)
    config = _config(broken)
    first, second, third = plan_index_items(config)
    assert [(item.first_row, item.rows) for item in (first, second, third)] == [(0, 900), (900, 900), (1800, 200)]
    build_index_item(second, config)
    assert undone_index_items(config) == [first, third]
    with pytest.raises(StoreInvalid, match="shard 0 is not built"):
        finish_index(config)
    folder = _folder(broken)
    (folder / _graphs(built)[0]).write_bytes(b"half")  # killed before the marker
    (folder / f".{_graphs(built)[0]}.1-2.partial").write_bytes(b"half")
    before = (folder / _graphs(built)[1]).stat().st_mtime_ns
    build(config)
    assert (folder / _graphs(built)[1]).stat().st_mtime_ns == before
    assert file_bytes(folder) == file_bytes(_folder(built))


def test_a_finished_index_is_left_alone(store: EmbeddingStore) -> None:
    summary = build(_bare(store))
    times = file_times(_folder(store))
    assert build(_config(store)) == summary
    assert times == file_times(_folder(store))


def test_an_interrupted_rebuild_leaves_the_old_index_answering(
    store: EmbeddingStore, world: tuple[Halves, Halves]
) -> None:
    queries = world[1][:50].astype(np.float32)
    before = open_index(store, "image").search(queries, 10)[1]
    other = IndexConfig(str(store.path), M=16)
    build_index_item(plan_index_items(other)[0], other)
    with pytest.raises(StoreInvalid, match="shard 1 is not built"):
        finish_index(other)
    assert np.array_equal(open_index(store, "image").search(queries, 10)[1], before)
    assert not undone_index_items(_bare(store))


def test_other_parameters_build_anew_and_leave_nothing_of_the_old(store: EmbeddingStore) -> None:
    old = _graphs(store)
    (_folder(store) / "shard_0000.faiss").write_bytes(b"of an earlier version")
    opened = open_index(store, "image")
    assert build(_config(store, shard_rows=2_000, M=16)).shards == 1
    (graph,) = _graphs(store)
    assert graph not in old
    stem = graph.removesuffix(".faiss")
    ends = ("copies.npy", "faiss", "json", "skipped.npy")
    assert sorted(file_bytes(_folder(store))) == sorted(["index.json", *(f"{stem}.{end}" for end in ends)])
    assert (opened.search(store.gather("image", [7]), 1)[1] == 7).all()  # open maps of removed files live on
    assert opened.stale()


def test_another_recall_needs_no_new_build(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    config = _config(vector_store(tmp_path, *world), recall=0.5)
    low = build(config).recall
    high = finish_index(replace(config, recall=0.999)).recall
    assert low.ef_search < high.ef_search
    assert open_index(EmbeddingStore.open(config.store), "image").ef_search == high.ef_search
    assert finish_index(IndexConfig(config.store)).recall == high  # what was asked for is kept


def test_a_grown_store_keeps_its_full_shards_and_its_recipe(
    store: EmbeddingStore, world: tuple[Halves, Halves]
) -> None:
    before = _graphs(store)
    store = grow(store, world[0][:300], world[1][:300])
    assert open_index(store, "image").tail_rows == 300
    # Neither the store's new size nor another memory changes what the first build chose.
    for memory in (None, 1_500_000):
        config = IndexConfig(str(store.path), memory=memory)
        assert [item.number for item in undone_index_items(config)] == [2]
        assert {item.spec.codec for item in plan_index_items(config)} == {"fp16"}
    summary = build(IndexConfig(str(store.path), memory=600_000))
    assert (summary.rows, summary.shards, summary.codec) == (2_300, 3, "fp16")
    assert summary.over_memory is not None
    assert "the image index takes" in summary.over_memory
    assert "more than the memory of 600 kB" in summary.over_memory
    assert _graphs(store)[:2] == before[:2]
    assert summary.recall.queries_asked == 50
    assert open_index(store, "image").tail_rows == 0


def test_forgotten_rows_leave_their_graph_once_they_are_many_or_erased(store: EmbeddingStore) -> None:
    before = _graphs(store)
    forget(store, [5])
    assert not undone_index_items(_bare(store))  # one of 900: the shard is kept
    forget(store, list(range(6, 20)))
    assert [item.number for item in undone_index_items(_bare(store))] == [0]
    summary = build(_bare(store))
    assert (summary.rows, summary.indexed, summary.skipped) == (2_000, 1_985, 15)
    assert [old == new for old, new in zip(before, _graphs(store), strict=True)] == [False, True, True]
    forget(store, [1_900])
    assert not undone_index_items(_bare(store))
    compact_store(str(store.path))
    again = EmbeddingStore.open(store.path)
    # Shards 0 and 1 share no changed rows with it: only the one whose graph holds an erased vector is built again.
    assert [item.number for item in undone_index_items(_bare(again))] == [2]
    open_index(again, "image")
    build(_bare(again))
    assert not undone_index_items(_bare(again))


def test_forgetting_measures_recall_again(store: EmbeddingStore) -> None:
    written = (_folder(store) / "index.json").read_bytes()
    forget(store, [5])
    build(_bare(store))
    assert (_folder(store) / "index.json").read_bytes() != written


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_shard_is_named_and_built_again(store: EmbeddingStore, damage: str) -> None:
    name = _graphs(store)[1]
    path, data = _folder(store) / name, (_folder(store) / name).read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(data) // 2
        path.write_bytes(
            data[:-8] if damage == "cut" else data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
        )
    with pytest.raises(StoreInvalid, match=rf"{name}: is .*; run `clipmine index .* --modality image.*`, which builds"):
        open_index(store, "image")
    assert len(undone_index_items(_bare(store))) == (damage != "flipped")
    assert drop_damaged_shards(_bare(store)) == 1
    assert [item.number for item in undone_index_items(_bare(store))] == [1]
    build(_bare(store))
    assert path.read_bytes() == data
    open_index(store, "image")


def test_rows_without_direction_are_counted_as_skipped(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    image, text = world[0].copy(), world[1]
    image[[3, 950]] = 0
    store = vector_store(tmp_path, image, text)
    forget(store, [4])
    summary = build(_config(store))
    assert (summary.rows, summary.indexed, summary.skipped) == (2_000, 1_997, 3)


def test_text_needs_text_embeddings(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, world[0])
    with pytest.raises(BadInput, match="has no text embeddings to index"):
        plan_index_items(_config(store, modality="text"))


def test_a_store_of_zero_vectors_is_refused(tmp_path: Path) -> None:
    store = vector_store(tmp_path, np.zeros((50, 8), np.float16))
    with pytest.raises(StoreInvalid, match="every image vector is zero"):
        build(_config(store))


def test_an_index_of_an_earlier_version_is_built_again(store: EmbeddingStore) -> None:
    path = _folder(store) / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 2}))
    with pytest.raises(StoreInvalid, match="another version of this program; run `clipmine index"):
        open_index(store, "image")
    build(_config(store))
    assert open_index(store, "image").shards == 3
