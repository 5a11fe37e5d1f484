"""The plan of a retrieval's searches: chosen once for all blocks, kept for later runs, made again for a new index."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

import retrieval.mode_plans
from index.errors import BadInput
from index.graph.index_manifest import index_folder, read_index_manifest
from index.store.embedding_store import EmbeddingStore
from retrieval.mode_plans import index_cost, index_source, settle_plans
from tests.retrieval.shared_worlds import INDEXED, ROWS, shared_config, shared_world
from tests.retrieval.stores import make_store, random_unit


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_clip_dir: Path) -> EmbeddingStore:
    return shared_world(tmp_path_factory.mktemp("shared"), tiny_clip_dir)


def test_one_plan_is_for_all_queries_in_passes_of_a_block(world: EmbeddingStore, tmp_path: Path) -> None:
    plans = settle_plans(shared_config(world, tmp_path / "out", method="exact"))
    assert list(plans) == ["t2i", "t2t"]
    assert plans["t2i"].why.startswith("as asked: 5 exact scans of 900 rows for 35 queries about ")
    walked = settle_plans(shared_config(world, tmp_path / "other", method="hnsw"))["t2i"]
    assert "35 queries through 3 graphs" in walked.why
    assert "past 300 rows that are not indexed yet" in walked.why


def test_a_later_run_takes_the_plan_that_is_there(
    world: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = shared_config(world, tmp_path / "out")
    plans = settle_plans(config)
    monkeypatch.setattr(retrieval.mode_plans, "usable_cores", lambda: 64)
    assert settle_plans(config) == plans


def test_a_plan_for_another_generation_of_the_index_is_made_again(world: EmbeddingStore, tmp_path: Path) -> None:
    config = shared_config(world, tmp_path / "out", method="hnsw")
    plans = settle_plans(config)
    old = {mode: asdict(plan) for mode, plan in plans.items()}
    old["t2i"] |= {"source": "0" * 16, "why": "of another index"}
    old["t2t"] |= {"why": "kept"}
    (tmp_path / "out/work/plans.json").write_text(json.dumps(old))
    again = settle_plans(config)
    assert again["t2i"] == plans["t2i"]
    assert again["t2t"].why == "kept"


def test_the_cost_of_an_index_counts_the_rows_beyond_it(world: EmbeddingStore) -> None:
    manifest = read_index_manifest(index_folder(world, "image"))
    assert manifest is not None
    cost = index_cost(manifest, ROWS, 10)
    assert (cost.shards, cost.tail_rows) == (3, ROWS - INDEXED)
    assert len(index_source(manifest)) == 16
    assert index_source(None) == ""


def test_hnsw_needs_an_index(tmp_path: Path) -> None:
    bare = make_store(tmp_path, random_unit(40, 16), random_unit(40, 16, 1))
    with pytest.raises(BadInput, match="the method hnsw needs an index"):
        settle_plans(shared_config(bare, tmp_path / "out", method="hnsw"))
    assert settle_plans(shared_config(bare, tmp_path / "other"))["t2t"].why.startswith("there is no index: ")
