"""An index is built by shards, continues after a stop with the same bytes, and keeps full shards when a store grows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.errors import BadInput, StoreInvalid
from index.graph.build import (
    IndexConfig,
    build_index_item,
    finish_index,
    is_index_item_done,
    plan_index_items,
)
from index.graph.search_index import open_index
from index.store.embedding_store import EmbeddingStore
from tests.folders import file_bytes, file_times
from tests.index.vectors import Halves, build, clustered, vector_store
from tests.retrieval.stores import forget


@pytest.fixture(scope="module")
def world() -> tuple[Halves, Halves]:
    return clustered(2_000)


def _config(store: EmbeddingStore, **changes: object) -> IndexConfig:
    config = IndexConfig(str(store.path), "image", shard_rows=900, queries=50)
    return replace(config, **changes)  # type: ignore[arg-type]  # fields of IndexConfig


def test_a_broken_off_build_goes_on_and_gives_the_same_bytes(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    whole, broken = (vector_store(tmp_path / name, *world) for name in ("whole", "broken"))
    build(_config(whole))
    config = _config(broken)
    first, second, third = plan_index_items(config)
    assert [(item.first_row, item.rows) for item in (first, second, third)] == [(0, 900), (900, 900), (1800, 200)]
    build_index_item(second, config)
    assert [is_index_item_done(item, config) for item in (first, second, third)] == [False, True, False]
    with pytest.raises(StoreInvalid, match="shard 0 is not built"):
        finish_index(config)
    folder = broken.path / "index" / "image"
    (folder / "shard_0000.faiss").write_bytes(b"half")  # killed before the marker
    (folder / ".shard_0000.faiss.1-2.partial").write_bytes(b"half")
    built = (folder / "shard_0001.faiss").stat().st_mtime_ns
    build(config)
    assert (folder / "shard_0001.faiss").stat().st_mtime_ns == built
    assert file_bytes(folder) == file_bytes(whole.path / "index" / "image")


def test_a_finished_index_is_left_alone(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    config = _config(vector_store(tmp_path, *world))
    summary = build(config)
    folder = Path(config.store, "index", "image")
    times = file_times(folder)
    assert build(config) == summary
    assert times == file_times(folder)


def test_other_parameters_build_anew_and_leave_nothing_of_the_old(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    config = _config(vector_store(tmp_path, *world))
    build(config)
    other = replace(config, shard_rows=None, M=16)
    assert not is_index_item_done(plan_index_items(other)[0], other)
    assert build(other).shards == 1
    assert sorted(file_bytes(Path(config.store, "index", "image"))) == [
        "index.json",
        "shard_0000.copies.npy",
        "shard_0000.faiss",
        "shard_0000.json",
        "shard_0000.skipped.npy",
    ]


def test_another_recall_needs_no_new_build(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    config = _config(vector_store(tmp_path, *world), recall=0.5)
    low = build(config).recall
    high = finish_index(replace(config, recall=0.999)).recall
    assert low.ef_search < high.ef_search
    assert open_index(EmbeddingStore.open(config.store), "image").ef_search == high.ef_search


def test_a_grown_store_keeps_its_full_shards(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    image, text = world
    store = vector_store(tmp_path / "small", image[:1_800], text[:1_800], parts=2)
    config = _config(store)
    build(config)
    grown = vector_store(tmp_path / "grown", image, text, parts=1)
    manifest = json.loads((store.path / "manifest.json").read_text())
    new = json.loads((grown.path / "manifest.json").read_text())["parts"][0]
    for kind, array in (("img_emb/img_emb", image), ("text_emb/text_emb", text)):
        np.save(store.path / f"{kind}_0002.npy", array[1_800:])
    from pyarrow import parquet

    table = parquet.read_table(grown.path / new["files"]["metadata"]["path"])
    parquet.write_table(table.slice(1_800), store.path / "metadata" / "metadata_0002.parquet")
    for record in new["files"].values():
        record["path"] = record["path"].replace("0000", "0002")
    manifest["parts"].append({**new, "name": "0002", "rows": 200, "read": 200})
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreInvalid, match=r"has grown from 1,800 to 2,000 rows since its image index was built"):
        open_index(EmbeddingStore.open(config.store), "image")
    assert [is_index_item_done(item, config) for item in plan_index_items(config)] == [True, True, False]
    assert build(config).rows == 2_000


def test_rows_without_direction_are_counted_as_skipped(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    image, text = world[0].copy(), world[1]
    image[[3, 950]] = 0
    store = vector_store(tmp_path, image, text)
    forget(store, [4])
    summary = build(_config(store))
    assert (summary.rows, summary.indexed, summary.skipped) == (2_000, 1_997, 3)


def test_little_memory_stores_a_byte_a_component(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, *world)
    assert plan_index_items(IndexConfig(str(store.path)))[0].codec == "fp16"
    items = plan_index_items(IndexConfig(str(store.path), memory=650_000))
    assert [(item.codec, item.rows) for item in items] == [("sq8", 1_069), ("sq8", 931)]


def test_text_needs_text_embeddings(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, world[0])
    with pytest.raises(BadInput, match="has no text embeddings to index"):
        plan_index_items(_config(store, modality="text"))


def test_a_store_of_zero_vectors_is_refused(tmp_path: Path) -> None:
    store = vector_store(tmp_path, np.zeros((50, 8), np.float16))
    with pytest.raises(StoreInvalid, match="every image vector is zero"):
        build(_config(store))


@pytest.mark.parametrize(
    "wrong", [{"modality": "audio"}, {"recall": 0}, {"recall": 95}, {"queries": 0}, {"shard_rows": 0}, {"M": 1}]
)
def test_impossible_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        IndexConfig("store", **wrong)  # type: ignore[arg-type]  # that is the point
