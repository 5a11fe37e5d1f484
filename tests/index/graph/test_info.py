"""What a store holds is told from its manifests, with its indexes and the rows that they cover."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.encoder.model_spec import ModelSpec
from index.errors import StoreInvalid
from index.graph.build import IndexConfig
from index.graph.info import store_info
from index.store.store_model import remember_model
from tests.index.vectors import build, clustered, vector_store
from tests.retrieval.stores import forget


def test_a_store_without_indexes(tmp_path: Path) -> None:
    store = vector_store(tmp_path, clustered(60)[0])
    forget(store, [3, 4])
    info = store_info(str(store.path))
    assert (info.kind, info.rows, info.forgotten, info.parts, info.dim) == ("embedded", 60, 2, 3, 32)
    assert (info.has_text, info.model, info.indexes) == (False, "test", ())
    stored = [path for folder in ("img_emb", "metadata") for path in (store.path / folder).iterdir()]
    assert info.size == sum(path.stat().st_size for path in stored)


def test_each_index_with_its_size_and_recall(tmp_path: Path) -> None:
    image, text = clustered(200)
    store = vector_store(tmp_path, image, text)
    remember_model(store.path, ModelSpec("ViT-B-32", "openai"))
    summary = build(IndexConfig(str(store.path), "text", shard_rows=120, queries=20))
    info = store_info(str(store.path))
    assert info.model == str(ModelSpec("ViT-B-32", "openai"))
    [index] = info.indexes
    assert (index.modality, index.rows, index.shards, index.codec) == ("text", 200, 2, "fp16")
    assert index.size == summary.size == sum(path.stat().st_size for path in store.path.glob("index/text/*.faiss"))
    assert index.recall == summary.recall.sentence()
    build(IndexConfig(str(store.path), "image", queries=20))
    assert [index.modality for index in store_info(str(store.path)).indexes] == ["image", "text"]


def test_an_index_by_meaning_shows_recall_against_the_shards_visited(tmp_path: Path) -> None:
    store = vector_store(tmp_path, *clustered(1_000))
    build(IndexConfig(str(store.path), shard_rows=100, layout="meaning", queries=100))
    [index] = store_info(str(store.path)).indexes
    assert "of the shards on 100 captions" in index.recall
    assert index.visits[0].startswith("shards visited  recall@10")
    assert [line for line in index.visits if line.endswith(" *")]
    assert index.visits[-1] == "* chosen"
    build(IndexConfig(str(store.path), layout="rows"))
    assert store_info(str(store.path)).indexes[0].visits == ()


def test_what_is_no_store_or_has_a_damaged_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match="no such store"):
        store_info(str(tmp_path / "nowhere"))
    store = vector_store(tmp_path, clustered(60)[0])
    (store.path / "index" / "image").mkdir(parents=True)
    (store.path / "index" / "image" / "index.json").write_text("{")
    with pytest.raises(StoreInvalid, match=r"index\.json: is damaged"):
        store_info(str(store.path))
