"""Shards by meaning: every row in one of them, the same files after a kill, and nothing lost by any change."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import index.graph.layout_build
from index.errors import StoreInvalid
from index.graph.build import IndexConfig, drop_damaged_shards, plan_index_items, prepare_layout
from index.graph.exact import exact_top_k
from index.graph.index_manifest import IndexManifest, read_index_manifest
from index.graph.layout_build import GroupWork
from index.graph.recall import recall_at
from index.graph.search_index import open_index
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.verify import verify_store
from tests.folders import file_bytes
from tests.index.vectors import Halves, build, clustered, grow, run_here, vector_store
from tests.retrieval.stores import forget

ROWS, SHARD_ROWS, ASKED = 3_000, 300, 0.95


@pytest.fixture(scope="module")
def world() -> tuple[Halves, Halves]:
    return clustered(2 * ROWS)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, world: tuple[Halves, Halves]) -> EmbeddingStore:
    """Indexed in ten shards by meaning. Shared, do not change it."""
    store = vector_store(tmp_path_factory.mktemp("built"), world[0][:ROWS], world[1][:ROWS])
    build(first_config(store))
    return store


@pytest.fixture
def store(built: EmbeddingStore, tmp_path: Path) -> EmbeddingStore:
    """As `built`, for a test to change."""
    shutil.copytree(built.path, tmp_path / "store")
    return EmbeddingStore.open(tmp_path / "store")


def first_config(store: EmbeddingStore) -> IndexConfig:
    return IndexConfig(str(store.path), shard_rows=SHARD_ROWS, layout="meaning", queries=200, recall=ASKED)


def again(store: EmbeddingStore) -> IndexManifest:
    """`clipmine index STORE` without options."""
    config = IndexConfig(str(store.path))
    build(config)
    return manifest(store)


def folder(store: EmbeddingStore) -> Path:
    return store.path / "index/image"


def manifest(store: EmbeddingStore) -> IndexManifest:
    found = read_index_manifest(folder(store))
    assert found is not None
    return found


def check_answers(store: EmbeddingStore, world: tuple[Halves, Halves]) -> float:
    """Captions find their images as the contract says, forgotten ones never; gives the share of shards visited."""
    index = open_index(EmbeddingStore.open(store.path), "image")
    assert index.visits is not None
    assert index.recall is not None
    assert index.recall.met
    queries = world[1][1 : store.rows : 7].astype(np.float32)
    scores, rows = index.search(queries, 10)
    truth, _ = exact_top_k(index.store.blocks("image"), queries, 10)
    assert recall_at(truth, scores, 10) >= ASKED - 0.03
    assert not index.store.is_forgotten(np.maximum(rows, 0).ravel())[rows.ravel() >= 0].any()
    exact = np.einsum("qd,qkd->qk", queries, index.store.gather("image", rows.ravel()).reshape(*rows.shape, -1))
    assert np.allclose(scores, exact, atol=2e-3)
    assert verify_store(store.path).problems == ()
    return float(index.visits.chosen(queries, 10).mean())


def listed(store: EmbeddingStore) -> list[np.ndarray]:
    layout = manifest(store).layout
    assert layout is not None
    return [np.load(folder(store) / one.ids.name) for grouping in layout.groupings for one in grouping.lists]


def test_each_row_is_in_one_shard_and_queries_visit_few(built: EmbeddingStore, world: tuple[Halves, Halves]) -> None:
    lists = listed(built)
    assert {len(rows) for rows in lists} == {SHARD_ROWS}
    assert np.array_equal(np.sort(np.concatenate(lists)), np.arange(ROWS))
    assert all((np.diff(rows.astype(np.int64)) > 0).all() for rows in lists)
    assert check_answers(built, world) < 0.6
    assert not list(folder(built).glob("layout-*")), "a finished index keeps its layout in index.json"
    assert not list(folder(built).glob("*.assigned.npy"))


def test_a_part_of_the_shards_answers_as_they_do_within_the_whole(built: EmbeddingStore) -> None:
    queries = built.gather("text", np.arange(40)).astype(np.float32)
    whole = open_index(built, "image")
    scores, rows = whole.search(queries, 10)
    parts = [open_index(built, "image", some).search(queries, 10) for some in ([0, 1, 2], [3], list(range(4, 10)))]
    merged = np.concatenate([found for found, _ in parts], axis=1)
    assert np.array_equal(-np.sort(-merged, axis=1)[:, :10], scores)
    assert {row for _, found in parts for row in found.ravel().tolist()} >= set(rows.ravel().tolist())
    own = np.arange(0, 200, 11)
    scores, rows = whole.search_rows(own, 5)
    assert not (rows == own[:, None]).any()


def test_a_build_that_was_killed_goes_on_with_the_same_bytes(built: EmbeddingStore, store: EmbeddingStore) -> None:
    expected = file_bytes(folder(built))
    kept = {name for number, name in enumerate(sorted(expected)) if number % 3 == 0 and name != "index.json"}
    for name in set(expected) - kept:
        (folder(store) / name).unlink()  # as after a kill at any point, and with what a full disk took
    build(first_config(store))
    assert file_bytes(folder(store)) == expected


def test_without_its_layout_no_shard_is_planned(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, world[0][:600], world[1][:600])
    with pytest.raises(StoreInvalid, match="rows are not grouped yet; run the same `clipmine index` again"):
        plan_index_items(first_config(store))
    prepare_layout(first_config(store), run_here)
    assert len(plan_index_items(first_config(store))) == 2
    (assigned,) = folder(store).glob("*.assigned.npy")
    assigned.write_bytes(b"half")
    for pending in folder(store).glob("layout-*.json"):
        pending.write_text("half")
    with pytest.raises(StoreInvalid, match=r"assigned.npy: is damaged; delete it and run the same `clipmine index`"):
        prepare_layout(first_config(store), run_here)


def test_new_rows_are_scanned_and_then_grouped_with_the_same_cells(
    store: EmbeddingStore, world: tuple[Halves, Halves]
) -> None:
    before = manifest(store)
    grown = grow(store, *(side[ROWS : ROWS + 800] for side in world))
    assert open_index(grown, "image").tail_rows == 800
    check_answers(grown, world)
    after = again(grown)
    assert before.layout is not None
    assert after.layout is not None
    assert after.layout.centroids == before.layout.centroids
    assert [grouping.rows for grouping in after.layout.groupings] == [ROWS, 800]
    assert after.shards[:10] == before.shards
    check_answers(grown, world)
    # 900 more are no fewer than the last 800, so these are grouped together; the first rows stay as they are.
    grown = grow(grown, *(side[ROWS + 800 : ROWS + 1_700] for side in world))
    layout = again(grown).layout
    assert layout is not None
    assert [grouping.rows for grouping in layout.groupings] == [ROWS, 1_700]
    assert np.array_equal(np.sort(np.concatenate(listed(grown))), np.arange(grown.rows))
    check_answers(grown, world)


def test_a_store_that_doubled_is_grouped_anew(store: EmbeddingStore, world: tuple[Halves, Halves]) -> None:
    before = manifest(store).layout
    grown = grow(store, *(side[ROWS:] for side in world))
    after = again(grown).layout
    assert before is not None
    assert after is not None
    assert after.centroids != before.centroids
    assert [grouping.rows for grouping in after.groupings] == [2 * ROWS]
    check_answers(grown, world)


def test_a_grouping_is_made_anew_when_all_rows_after_it_are_as_many(
    tmp_path: Path, world: tuple[Halves, Halves]
) -> None:
    store = vector_store(tmp_path, world[0][:300], world[1][:300])
    build(IndexConfig(str(store.path), shard_rows=100, layout="meaning", queries=50))
    groupings = []
    for first, last in ((300, 500), (500, 640)):
        store = grow(store, *(side[first:last] for side in world))
        layout = again(store).layout
        assert layout is not None
        groupings.append([grouping.rows for grouping in layout.groupings])
    # 140 rows are fewer than the 200 before them; but with these they are as many as the first 300.
    assert groupings == [[300, 200], [640]]


def test_rows_forgotten_after_a_kill_do_not_mix_two_sets_of_cells(
    tmp_path: Path, world: tuple[Halves, Halves], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index.graph.layout_build, "_RUN_ROWS", 300)
    killed, clean = (vector_store(tmp_path / name, world[0][:600], world[1][:600]) for name in ("killed", "clean"))

    def one_run(function: Any, items: Sequence[Any], work: GroupWork, label: str) -> list[Any]:
        function(items[0], work)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_layout(first_config(killed), one_run)
    layouts = []
    for store in (killed, clean):
        forget(store, [7])
        prepare_layout(first_config(store), run_here)
        layouts.append([item.listed for item in plan_index_items(first_config(store))])
    assert layouts[0] == layouts[1]


def test_forgotten_rows_stay_away_before_and_after_compaction(
    store: EmbeddingStore, world: tuple[Halves, Halves]
) -> None:
    lists, before = listed(store), manifest(store)
    gone = np.concatenate([lists[3][:60], lists[5][:1]]).astype(np.int64)  # many of one shard, one of another
    forget(store, gone.tolist())
    check_answers(store, world)
    after = again(store)
    assert after.layout == before.layout
    same = [old == new for old, new in zip(before.shards, after.shards, strict=True)]
    assert same == [number != 3 for number in range(10)]
    compact_store(str(store.path))
    check_answers(store, world)
    compacted = again(EmbeddingStore.open(store.path))
    same = [old == new for old, new in zip(after.shards, compacted.shards, strict=True)]
    assert same == [number != 5 for number in range(10)], "the graph that holds an erased vector is built again"
    check_answers(store, world)


def test_lists_of_shards_that_are_not_opened_are_needed_too(store: EmbeddingStore) -> None:
    record = manifest(store).shards[4]
    (folder(store) / record.file).unlink()
    forget(store, [3])
    asked = store.gather("text", np.arange(5)).astype(np.float32)
    assert open_index(store, "image", [0]).search(asked, 3)[1].shape == (5, 3)
    (folder(store) / record.files["cells.npy"].name).unlink()  # how many rows of a cell are forgotten decides visits
    with pytest.raises(StoreInvalid, match=r"cells.npy: .*run `clipmine index"):
        open_index(store, "image", [0])


@pytest.mark.parametrize("kind", ["table", "centroids", "rows", "cells"])
def test_a_damaged_file_of_the_layout_is_named_and_made_again(
    store: EmbeddingStore, built: EmbeddingStore, kind: str
) -> None:
    file = next(folder(store).glob(f"*.{kind}.npy"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(StoreInvalid, match=f"{file.name}: is damaged.* --checksums`"):
        open_index(store, "image", checksums=True)
    assert [problem.file for problem in verify_store(store.path).problems] == [str(file)]
    config = IndexConfig(str(store.path))
    drop_damaged_shards(config)
    build(config)
    assert file_bytes(folder(store)) == file_bytes(folder(built))


def test_a_store_goes_back_to_consecutive_rows(store: EmbeddingStore) -> None:
    build(IndexConfig(str(store.path), layout="rows"))
    assert manifest(store).layout is None
    assert not [name for name in file_bytes(folder(store)) if name.endswith(("rows.npy", "cells.npy", "table.npy"))]
    assert open_index(store, "image").visits is None


def test_an_open_index_answers_after_another_build_has_removed_its_lists(store: EmbeddingStore) -> None:
    opened = open_index(store, "image")
    asked = store.gather("text", np.arange(20)).astype(np.float32)
    before = opened.search(asked, 5)[1]
    build(IndexConfig(str(store.path), layout="rows"))
    forget(store, before[:, 0].tolist())
    after = opened.search(asked, 5)[1]
    assert (after >= 0).all()
    assert not np.isin(after, before[:, 0]).any()


def test_captions_and_rounded_vectors_are_grouped_too(tmp_path: Path, world: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, world[0][:1_500], world[1][:1_500])
    for codec in ("sq8", "rabitq"):
        build(IndexConfig(str(store.path), "text", codec=codec, shard_rows=300, layout="meaning", queries=100))
        index = open_index(store, "text")
        _, rows = index.search(store.gather("text", np.arange(50)).astype(np.float32), 5)
        assert (rows == np.arange(50)[:, None]).any(axis=1).all()


def test_a_store_of_zero_vectors_is_refused(tmp_path: Path) -> None:
    store = vector_store(tmp_path, np.zeros((40, 8), np.float16))
    with pytest.raises(StoreInvalid, match="no sampled image vector has a direction"):
        prepare_layout(first_config(store), run_here)
