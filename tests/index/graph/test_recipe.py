"""What the first build chooses stays: only options that are given change how an index is built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from index.errors import BadInput
from index.graph.build import finish_index
from index.graph.hnsw import HnswSpec
from index.graph.index_manifest import IndexManifest, index_folder, read_index_manifest
from index.graph.recipe import IndexConfig, choose_recipe, over_memory
from index.store.embedding_store import EmbeddingStore
from tests.index.vectors import build, clustered, grow, vector_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    """2,000 x 32 and not indexed; shared, do not change it."""
    return vector_store(tmp_path_factory.mktemp("recipe"), *clustered(2_000))


def test_the_first_build_chooses_by_the_memory(store: EmbeddingStore) -> None:
    plenty = choose_recipe(IndexConfig(str(store.path)), store, None)
    assert (plenty.spec.codec, plenty.spec.M, plenty.spec.ef_construction) == ("fp16", 32, 100)
    assert (plenty.memory, plenty.recall, plenty.queries, plenty.seed) == (16_000_000_000, 0.95, 1_000, 0)
    assert over_memory(plenty, store, "image") is None
    little = choose_recipe(IndexConfig(str(store.path), memory=650_000), store, None)
    assert (little.spec.codec, little.shard_rows) == ("sq8", 1_069)
    line = over_memory(replace(little, memory=450_000), store, "text")
    assert line is not None
    assert line.startswith("the text index takes 608 kB, more than the memory of 450 kB: searches read the rest from")
    assert line.endswith("--codec rabitq` builds one of 111 kB")


def test_a_later_build_takes_what_the_first_one_chose(tmp_path: Path) -> None:
    image, text = clustered(1_200)
    store = vector_store(tmp_path, image[:1_000], text[:1_000])
    build(IndexConfig(str(store.path), M=8, ef_construction=20, recall=0.5, queries=30, seed=4, memory=500_000))
    earlier = read_index_manifest(index_folder(store, "image"))
    assert isinstance(earlier, IndexManifest)
    first = choose_recipe(IndexConfig(str(store.path)), store, earlier)
    assert (first.spec, first.queries, first.seed) == (HnswSpec("fp16", 8, 20), 30, 4)
    store = grow(store, image[1_000:], text[1_000:])
    for memory in (None, 200_000, 10**12):
        later = choose_recipe(IndexConfig(str(store.path), memory=memory), store, earlier)
        assert later == replace(first, memory=memory or 500_000)
    line = over_memory(replace(first, memory=100_000), store, "image")
    assert line is not None
    assert line.endswith(f"`clipmine index {store.path} --codec rabitq` builds one of 61.8 kB")


def test_options_that_are_given_change_the_recipe(tmp_path: Path) -> None:
    store = vector_store(tmp_path, *clustered(300))
    config = IndexConfig(str(store.path), queries=20)
    build(config)
    assert build(replace(config, codec="sq8", shard_rows=200)).shards == 2
    kept = finish_index(IndexConfig(str(store.path)))
    assert (kept.codec, kept.shards, kept.recall.queries_asked) == ("sq8", 2, 20)


@pytest.mark.parametrize(
    "wrong",
    [
        {"modality": "audio"},
        {"recall": 0},
        {"recall": 95},
        {"queries": 0},
        {"seed": -1},
        {"shard_rows": 0},
        {"M": 1},
        {"M": 32, "ef_construction": 8},
        {"codec": "int4"},
    ],
)
def test_impossible_configurations_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        IndexConfig("store", **wrong)  # type: ignore[arg-type]  # that is the point


def test_memory_for_not_even_one_shard_is_refused(store: EmbeddingStore) -> None:
    with pytest.raises(BadInput, match="too little to build an index"):
        choose_recipe(IndexConfig(str(store.path), memory=1_000), store, None)
