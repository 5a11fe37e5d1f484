"""The near-duplicates job: the column, growth, forgetting, compaction, kills, and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import index.duplicates.row_pairs
import index.duplicates.segments as module
from index.duplicates.groups_manifest import groups_folder
from index.duplicates.segments import (
    DuplicatesConfig,
    DuplicatesSummary,
    finish_groups,
    search_segment,
    undone_segments,
)
from index.duplicates.stored_groups import open_groups
from index.errors import BadInput, StoreInvalid
from index.graph.build import IndexConfig
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from tests.index.duplicates.worlds import groups_of, with_copies
from tests.index.vectors import build, grow, vector_store

ROWS = 600
VECTORS = with_copies(ROWS, 150)


def find_groups(config: DuplicatesConfig) -> DuplicatesSummary:
    """The whole job here, item after item."""
    for item in undone_segments(config):
        search_segment(item, config)
    return finish_groups(config)


def column(store: EmbeddingStore) -> list[int]:
    """The stored groups of all rows."""
    groups = open_groups(EmbeddingStore.open(store.path))
    assert groups is not None
    found: list[int] = groups.of(np.arange(groups.rows)).tolist()
    return found


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAST_ROWS", 100)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return vector_store(tmp_path / "store", VECTORS)


@pytest.fixture
def config(store: EmbeddingStore) -> DuplicatesConfig:
    return DuplicatesConfig(str(store.path))


def test_the_column_names_the_first_row_of_each_group_and_the_summary_adds_up(
    store: EmbeddingStore, config: DuplicatesConfig, small_segments: None
) -> None:
    summary = find_groups(config)
    assert column(store) == groups_of(VECTORS).tolist()
    sizes = np.bincount(groups_of(VECTORS))
    assert summary.rows == summary.grouped + summary.alone + summary.not_indexed == ROWS
    assert (summary.grouped, summary.groups) == (int(sizes[sizes > 1].sum()), int((sizes > 1).sum()))
    assert (summary.largest, summary.searched, summary.not_indexed) == (sizes.max(), ROWS, 0)


def test_run_again_it_searches_nothing_and_changes_no_file(store: EmbeddingStore, config: DuplicatesConfig) -> None:
    find_groups(config)
    before = {file.name: file.stat().st_mtime_ns for file in groups_folder(store).iterdir()}
    assert undone_segments(config) == []
    assert find_groups(config).searched == 0
    assert {file.name: file.stat().st_mtime_ns for file in groups_folder(store).iterdir()} == before


def test_after_growth_only_new_rows_are_searched_and_they_join_old_ones(
    store: EmbeddingStore, config: DuplicatesConfig
) -> None:
    find_groups(config)
    new = np.concatenate([VECTORS[[3, 599]], with_copies(80, 20, seed=5)])
    grow(store, new)
    (item,) = undone_segments(config)
    assert (item.first_row, item.rows) == (ROWS, 82)
    assert find_groups(config).searched == 82
    assert column(store) == groups_of(np.concatenate([VECTORS, new])).tolist()


def test_forgetting_and_compaction_keep_the_groups_and_hide_the_rows(
    store: EmbeddingStore, config: DuplicatesConfig
) -> None:
    find_groups(config)
    expected = groups_of(VECTORS)
    expected[[0, 590]] = -1
    forget_rows(store, row_ids=[0, 590])
    assert column(store) == expected.tolist()
    compact_store(str(store.path))
    assert column(store) == expected.tolist()
    assert undone_segments(config) == []


def test_what_a_killed_run_has_searched_is_kept_and_the_files_are_the_same(
    store: EmbeddingStore, config: DuplicatesConfig, tmp_path: Path, small_segments: None
) -> None:
    for item in undone_segments(config)[:2]:
        search_segment(item, config)
    assert len(undone_segments(config)) == 4
    assert open_groups(store) is None
    with pytest.raises(StoreInvalid, match="was not searched; run the same"):
        finish_groups(config)
    find_groups(config)
    other = vector_store(tmp_path / "other", VECTORS)
    find_groups(DuplicatesConfig(str(other.path)))
    files = [{file.name: file.read_bytes() for file in groups_folder(each).iterdir()} for each in (store, other)]
    assert files[0] == files[1]


def test_another_limit_makes_another_column_and_later_runs_keep_it(
    store: EmbeddingStore, config: DuplicatesConfig
) -> None:
    find_groups(config)
    find_groups(DuplicatesConfig(str(store.path), 0.98))
    assert column(store) == groups_of(VECTORS, 0.98).tolist()
    assert find_groups(config).threshold == 0.98
    assert len(list(groups_folder(store).iterdir())) == 3


def test_rows_that_are_not_indexed_wait_for_the_index(
    store: EmbeddingStore, config: DuplicatesConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for where in (module, index.duplicates.row_pairs):
        monkeypatch.setattr(where, "ALL_PAIRS", 10)
    with pytest.raises(BadInput, match=r"no image index .*`clipmine index"):
        undone_segments(config)
    build(IndexConfig(str(store.path), shard_rows=300))
    new = with_copies(80, 20, seed=5)
    grow(store, new)
    summary = find_groups(config)
    assert (summary.searched, summary.not_indexed) == (ROWS, 80)
    build(IndexConfig(str(store.path)))
    summary = find_groups(config)
    assert (summary.searched, summary.not_indexed) == (80, 0)
    assert np.mean(np.array(column(store)) == groups_of(np.concatenate([VECTORS, new]))) > 0.99


def test_a_lost_file_is_made_again_and_a_damaged_one_named(store: EmbeddingStore, config: DuplicatesConfig) -> None:
    find_groups(config)
    next(groups_folder(store).glob("*.groups.npy")).unlink()
    assert find_groups(config).grouped
    edges = next(groups_folder(store).glob("*.edges.npy"))
    edges.write_bytes(b"x" * edges.stat().st_size)
    grow(store, with_copies(20, 5))
    with pytest.raises(StoreInvalid, match=f"{edges.name}: is damaged"):
        find_groups(config)


@pytest.mark.parametrize("threshold", [0, -1, 1.5])
def test_a_limit_that_is_no_cosine_is_refused(threshold: float) -> None:
    with pytest.raises(BadInput, match="--threshold"):
        DuplicatesConfig("STORE", threshold)


@pytest.mark.parametrize("content", [b"", b"cut", None])
def test_a_segments_file_that_is_cut_off_or_another_is_searched_again(
    config: DuplicatesConfig, store: EmbeddingStore, content: bytes | None
) -> None:
    find_groups(config)
    whole = column(store)
    (edges,) = groups_folder(store).glob("*.edges.npy")
    if content is None:
        np.save(edges, np.zeros((3, 3, 3)))
    else:
        edges.write_bytes(content)
    assert len(undone_segments(config)) == 1
    find_groups(config)
    assert column(store) == whole
