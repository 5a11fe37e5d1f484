"""A search that is shared out finds what the search in one process finds, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retrieval.shared_search
from index.errors import ClipmineError
from index.graph.build import IndexConfig, finish_index
from index.graph.search_index import open_index
from index.store.embedding_store import EmbeddingStore
from retrieval import Selection, retrieve
from retrieval.query_blocks import RetrieveConfig, is_block_done, plan_blocks
from retrieval.retrieve import finish_selection, prepare_retrieval
from retrieval.shared_search import (
    MapItems,
    SearchItem,
    SharedSearch,
    merge_item,
    row_groups,
    search_item,
    share_search,
)
from tests.folders import file_bytes
from tests.retrieval.shared_worlds import (
    CONCEPTS,
    INDEXED,
    ROWS,
    SHARD_ROWS,
    retrieve_arguments,
    shared_config,
    shared_world,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_clip_dir: Path) -> EmbeddingStore:
    return shared_world(tmp_path_factory.mktemp("shared"), tiny_clip_dir)


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval.shared_search, "SCAN_ROWS", 128)
    monkeypatch.setattr(retrieval.shared_search, "PAIRS", 2 * 7 * 50)


class Here:
    """Runs the items in this process, and remembers them; stops before an item of `stop` as a killed driver would."""

    def __init__(self, stop: str | None = None, after: int = 0) -> None:
        self.stop, self.after = stop, after
        self.items: dict[str, list[Any]] = {}

    def __call__(self, search: SharedSearch) -> MapItems:
        def map_items(function: Any, items: Sequence[Any], label: str) -> list[Any]:
            self.items[label] = list(items)
            for number, item in enumerate(items):
                if label == self.stop and number == self.after:
                    raise KeyboardInterrupt
                function(item, search)
            return []

        return map_items


def shared(config: RetrieveConfig, run: Here | None = None) -> Selection:
    prepare_retrieval(config)
    share_search(config, run or Here())
    return finish_selection(config)


def files(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in file_bytes(folder).items() if name != "retrieve.json"}


@pytest.mark.parametrize("method", ["hnsw", "exact", None])
def test_a_shared_search_writes_the_selection_of_a_search_in_one_process(
    world: EmbeddingStore, tmp_path: Path, method: str | None
) -> None:
    config = shared_config(world, tmp_path / "shared", method=method)
    run = Here()
    selection = shared(config, run)
    retrieve(world, CONCEPTS, out=tmp_path / "plain", **retrieve_arguments(config))
    assert files(tmp_path / "shared") == files(tmp_path / "plain")
    found = selection.table()["row_id"].to_numpy()
    assert not set(found.tolist()) & {3, 250, 251, 700}
    assert (found >= INDEXED).any()
    assert not (tmp_path / "shared" / "work").exists()
    assert selection.hits == selection.rows + sum(selection.losses.values())
    for mode in ("t2i", "t2t"):
        groups = {item.group for item in run.items["search"] if item.mode == mode}
        assert len(groups) == (4 if method == "hnsw" else 8) or method is None


def test_graphs_of_rounded_vectors_are_ranked_by_the_store_after_all_are_merged(
    tiny_clip_dir: Path, tmp_path: Path
) -> None:
    world = shared_world(tmp_path, tiny_clip_dir, "sq8")
    config = shared_config(world, tmp_path / "shared", method="hnsw")
    shared(config)
    retrieve(world, CONCEPTS, out=tmp_path / "plain", **retrieve_arguments(config))
    assert files(tmp_path / "shared") == files(tmp_path / "plain")


@pytest.mark.parametrize("codec", ["fp16", "sq8"])
def test_of_shards_by_meaning_each_query_searches_those_that_it_visits(
    codec: str, tmp_path: Path, tiny_clip_dir: Path
) -> None:
    store = shared_world(tmp_path, tiny_clip_dir, codec, layout="meaning", shard_rows=60, recall=0.4)
    index = open_index(store, "image")
    assert index.visits is not None
    assert index.visits.chosen(store.gather("text", np.arange(40)).astype(np.float32), 20).mean() < 1
    config = shared_config(store, tmp_path / "shared", method="hnsw")
    shared(config)
    retrieve(store, CONCEPTS, out=tmp_path / "here", **retrieve_arguments(config))
    assert files(tmp_path / "shared") == files(tmp_path / "here")


def test_more_ranks_than_a_shard_has_rows(world: EmbeddingStore, tmp_path: Path) -> None:
    config = shared_config(world, tmp_path / "shared", method="hnsw", k=ROWS - 100, mode="t2i")
    shared(config)
    retrieve(world, CONCEPTS, out=tmp_path / "plain", **retrieve_arguments(config))
    assert files(tmp_path / "shared") == files(tmp_path / "plain")


@pytest.mark.parametrize(("stage", "after"), [("encode prompts", 2), ("search", 3), ("merge", 2)])
@pytest.mark.parametrize("method", ["hnsw", "exact"])
def test_a_search_that_was_stopped_goes_on_where_it_ended(
    world: EmbeddingStore, tmp_path: Path, stage: str, after: int, method: str
) -> None:
    config = shared_config(world, tmp_path / "shared", method=method)
    first, second = Here(stage, after), Here()
    with pytest.raises(KeyboardInterrupt):
        shared(config, first)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared").rglob("*.npz")}
    shared(config, second)
    assert len(second.items[stage]) == len(first.items[stage]) - after
    assert {"merge": 0}.get(stage, 1) == bool(second.items["search"])
    assert written
    shared(shared_config(world, tmp_path / "whole", method=method))
    assert files(tmp_path / "shared") == files(tmp_path / "whole")


def test_a_retrieval_begun_on_workers_can_be_ended_in_one_process(world: EmbeddingStore, tmp_path: Path) -> None:
    config = shared_config(world, tmp_path / "shared")
    with pytest.raises(KeyboardInterrupt):
        shared(config, Here("merge", 2))
    assert [is_block_done(block, config) for block in plan_blocks(config)] == [True, True, False, False, False]
    retrieve(world, CONCEPTS, out=tmp_path / "shared", **retrieve_arguments(config))
    retrieve(world, CONCEPTS, out=tmp_path / "plain", **retrieve_arguments(config))
    assert files(tmp_path / "shared") == files(tmp_path / "plain")


def test_a_group_is_opened_once_for_all_blocks(
    world: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[int, ...]] = []

    def counted(store: EmbeddingStore, modality: Any, shards: tuple[int, ...]) -> Any:
        opened.append(shards)
        return open_index(store, modality, shards)

    monkeypatch.setattr(retrieval.shared_search, "open_index", counted)
    monkeypatch.setattr(retrieval.shared_search, "SEARCH_ITEMS", 1)
    shared(shared_config(world, tmp_path / "shared", method="hnsw", mode="t2i"))
    assert sorted(shards for shards in opened if shards) == [(0,), (1,), (2,)]


def test_an_exact_scan_takes_as_many_blocks_as_fit_and_reads_a_range_once_for_them(
    world: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval.shared_search, "SEARCH_ITEMS", 1)
    monkeypatch.setattr(retrieval.shared_search, "PAIRS", 2 * 7 * (30 + 16))
    run = Here()
    shared(shared_config(world, tmp_path / "shared", method="exact", mode="t2i"), run)
    own = [[block.number for block in item.blocks] for item in run.items["search"] if item.group.first == 0]
    assert own == [[0, 1], [2, 3], [4]]


def test_groups_cover_every_row_once(world: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = shared_config(world, tmp_path / "out", method="hnsw", mode="t2i")
    run = Here()
    shared(config, run)
    groups = list(dict.fromkeys(item.group for item in run.items["search"]))
    assert [(group.first, group.last) for group in groups] == [
        *((first, first + SHARD_ROWS) for first in range(0, INDEXED, SHARD_ROWS)),
        (INDEXED, ROWS),
    ]
    monkeypatch.setattr(retrieval.shared_search, "GROUPS", 2)
    search = SearchLog()
    share_search(shared_config(world, tmp_path / "two", method="hnsw", mode="t2i"), search)
    assert [group.shards for group in search.groups] == [(0, 1), (2,), None]


class SearchLog(Here):
    """Runs the items and keeps the groups."""

    groups: tuple[Any, ...] = ()

    def __call__(self, search: SharedSearch) -> MapItems:
        self.groups = search.groups["t2i"]
        return super().__call__(search)


def test_an_index_that_is_built_again_meanwhile_stops_the_search_and_a_rerun_searches_the_new_one(
    tiny_clip_dir: Path, tmp_path: Path
) -> None:
    world = shared_world(tmp_path, tiny_clip_dir)
    config = shared_config(world, tmp_path / "shared", method="hnsw", mode="t2i")
    kept: list[Any] = []

    def rebuild_then_search(search: SharedSearch) -> MapItems:
        def map_items(function: Any, items: Sequence[Any], label: str) -> list[Any]:
            for number, item in enumerate(items):
                if label == "search" and number == 3:
                    _index_again(world)
                kept.append(item)
                function(item, search)
            return []

        return map_items

    prepare_retrieval(config)
    with pytest.raises(ClipmineError, match="its image index was built again meanwhile; run the same command again"):
        share_search(config, rebuild_then_search)
    assert any(isinstance(item, SearchItem) for item in kept)
    shared(config)
    retrieve(world, CONCEPTS, out=tmp_path / "plain", **retrieve_arguments(config))
    assert files(tmp_path / "shared") == files(tmp_path / "plain")


def _index_again(store: EmbeddingStore) -> None:
    from index.graph.build import build_index_item, undone_index_items

    config = IndexConfig(str(store.path), "image")
    for item in undone_index_items(config):
        build_index_item(item, config)
    finish_index(config)


def test_a_store_that_grew_meanwhile_is_refused(world: EmbeddingStore, tmp_path: Path) -> None:
    config = shared_config(world, tmp_path / "shared", mode="t2i")
    run = SearchLog()
    prepare_retrieval(config)
    searches: list[SharedSearch] = []

    def other_rows(search: SharedSearch) -> MapItems:
        searches.append(SharedSearch(config, None, ROWS - 1, search.plans, search.groups))
        return run(searches[0])

    with pytest.raises(ClipmineError, match="has grown since this retrieval began"):
        share_search(config, other_rows)


def test_items_that_were_made_already_are_not_made_again(world: EmbeddingStore, tmp_path: Path) -> None:
    config = shared_config(world, tmp_path / "shared", method="exact", mode="t2i")
    run, searches = Here("merge"), []

    def remember(search: SharedSearch) -> MapItems:
        searches.append(search)
        return run(search)

    prepare_retrieval(config)
    with pytest.raises(KeyboardInterrupt):
        share_search(config, remember)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared" / "work" / "found").rglob("*.npz")}
    assert len(made) == 8 * 5
    search_item(run.items["search"][0], searches[0])  # as after a lost worker
    assert {path: path.stat().st_mtime_ns for path in made} == made
    block = run.items["merge"][0]
    merge_item(block, searches[0])
    assert is_block_done(block, config)
    assert not (tmp_path / "shared" / "work" / "found" / "00000").exists()
    assert len(row_groups(world, "t2i", searches[0].plans["t2i"])) == 8
    assert np.isin([path.parent.name for path in made], [f"{number:05d}" for number in range(5)]).all()
