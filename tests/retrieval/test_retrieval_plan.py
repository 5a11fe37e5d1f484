"""What a retrieval would cost, for a store and for more rows than it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from retrieval.retrieval_plan import plan_retrieval
from tests.retrieval.shared_worlds import ROWS, SHARD_ROWS, shared_config, shared_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_clip_dir: Path) -> EmbeddingStore:
    return shared_world(tmp_path_factory.mktemp("shared"), tiny_clip_dir)


def test_a_plan_counts_queries_groups_reads_and_bytes(world: EmbeddingStore, tmp_path: Path) -> None:
    plan = plan_retrieval(shared_config(world, tmp_path / "out", method="hnsw"), cores=2)
    assert (plan.rows, plan.queries, plan.blocks, plan.depth) == (ROWS, 35, 5, 30)
    first = plan.modes[0]
    assert (first.mode, first.method, first.shards, first.groups, first.reads) == ("t2i", "hnsw", 3, 4, 1)
    assert first.between_bytes == 35 * 30 * 12 * 4
    assert plan.hours == pytest.approx(sum(mode.core_hours for mode in plan.modes) / 2)
    assert dict(plan.lines())["t2i: groups"] == "4 of 3 shards, each read once"
    assert not (tmp_path / "out").exists()


def test_more_rows_than_the_store_has_are_planned_with_its_shards(world: EmbeddingStore, tmp_path: Path) -> None:
    config = shared_config(world, tmp_path / "out", method="hnsw", mode="t2i")
    (large,) = plan_retrieval(config, rows=10**6, cores=2).modes
    assert (large.shards, large.groups) == (10**6 // SHARD_ROWS, 64)
    assert "not indexed yet" not in large.why


def test_an_exact_scan_reads_the_rows_once_for_many_blocks(world: EmbeddingStore, tmp_path: Path) -> None:
    config = shared_config(world, tmp_path / "out", method="exact", mode="t2i", k=1_000)
    plan = plan_retrieval(config, rows=400_000_000, workers=8, cores=2)
    (scan,) = plan.modes
    assert (scan.groups, scan.reads, scan.read_bytes) == (64, 1, 400_000_000 * 16 * 2)
    assert plan.hours == pytest.approx(scan.core_hours / 16)


def test_more_ranks_than_rows_are_refused(world: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="k 20: larger than the 10 rows that are planned for"):
        plan_retrieval(shared_config(world, tmp_path / "out"), rows=10, cores=1)
