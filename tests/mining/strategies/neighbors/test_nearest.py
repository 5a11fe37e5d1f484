"""Nearest rows of anchors: the same from a graph's shards, a scan and a selection's rows, itself never among them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import mining.strategies.neighbors.nearest
from index.errors import StoreInvalid
from index.graph.build import IndexConfig
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import in_process
from mining.strategies.minable import Minable, minable_rows
from mining.strategies.neighbors.nearest import Nearest, nearest
from mining.strategies.neighbors.similarity import similarities
from tests.folders import file_times
from tests.index.vectors import build, grow
from tests.mining.conftest import mining_context
from tests.mining.worlds import mining_store
from tests.retrieval.stores import forget

ANCHORS = np.arange(0, 240, 7)


def _near(store: EmbeddingStore, folder: Path, chosen: npt.NDArray[np.int64] | None = None, k: int = 6) -> Nearest:
    # A selection is what makes items look for the chosen rows; its content is in `chosen` here.
    ctx = mining_context(store, folder, "similar", selection=None if chosen is None else "given")
    return nearest(ctx, in_process(ctx), Minable(store, chosen), "image", ANCHORS, k)


def _exact(store: EmbeddingStore, k: int, among: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    vectors = store.gather("image", np.arange(store.rows)).astype(np.float64)
    scores = vectors[ANCHORS] @ vectors.T
    hidden = np.setdiff1d(np.arange(store.rows), among)
    scores[:, hidden] = -np.inf
    scores[np.arange(len(ANCHORS)), ANCHORS] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def test_a_scan_finds_what_comparing_all_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = mining_store(tmp_path)
    monkeypatch.setattr(mining.strategies.neighbors.nearest, "SCAN_ROWS", 100)
    monkeypatch.setattr(mining.strategies.neighbors.nearest, "CHUNK_ANCHORS", 16)
    near = _near(store, tmp_path)
    assert (near.ids == _exact(store, 6, np.arange(240))).all()
    assert "no image index" in near.how
    flat = np.stack([np.repeat(ANCHORS, 6), near.ids.ravel()], axis=1)
    assert (near.similarity.ravel() == similarities(store, "image", flat)).all()


def test_the_shards_of_a_graph_give_the_same(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    build(IndexConfig(store=str(store.path), shard_rows=100))
    near = _near(store, tmp_path)
    assert "3 shards" in near.how
    assert (near.ids == _exact(store, 6, np.arange(240))).mean() > 0.99


def test_rows_that_were_added_after_the_index_was_built_are_neighbours_too(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    build(IndexConfig(store=str(store.path), shard_rows=100))
    store = grow(store, *(np.asarray(store.gather(modality, [7, 28]), np.float16) for modality in ("image", "text")))
    near = _near(store, tmp_path)
    assert near.ids[ANCHORS == 7, 0] == [240]
    assert (near.ids == _exact(store, 6, np.arange(242))).mean() > 0.99


def test_forgotten_rows_and_rows_outside_the_selection_are_no_neighbours(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    forget(store, [1, 2, 3])
    chosen = np.arange(0, 240, 2)
    near = _near(store, tmp_path, chosen)
    assert (near.ids == _exact(store, 6, np.setdiff1d(chosen, [2]))).all()


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("split", ["train", "held-out"])
def test_with_a_hold_out_neighbours_are_of_the_anchors_side(tmp_path: Path, indexed: bool, split: str) -> None:
    store = mining_store(tmp_path)
    if indexed:
        build(IndexConfig(store=str(store.path), shard_rows=100))
    ctx = replace(mining_context(store, tmp_path, "similar", hold_out=0.3), split=split)
    minable = minable_rows(ctx, store)
    near = nearest(ctx, in_process(ctx), minable, "image", ANCHORS, 6)
    expected = _exact(store, 6, minable.rows(0, 240))
    assert np.isin(near.ids, minable.rows(0, 240)).all()
    found = np.array([len(np.intersect1d(*each)) for each in zip(near.ids, expected, strict=True)])
    assert found.mean() / 6 > (0.9 if indexed else 0.999)


def test_where_rows_run_out_the_rest_is_empty(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    near = _near(store, tmp_path, np.array([7, 14, 15]), k=4)
    assert near.ids.shape == (len(ANCHORS), 4)
    assert near.ids[1].tolist()[2:] == [-1, -1]
    assert not np.isfinite(near.similarity[1, 2:]).any()


def test_an_index_that_no_longer_fits_says_what_to_run(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    build(IndexConfig(store=str(store.path)))
    next(store.path.glob("index/image/*.faiss")).unlink()
    with pytest.raises(StoreInvalid, match="clipmine index"):
        _near(store, tmp_path)


def test_finished_items_are_not_done_again(tmp_path: Path) -> None:
    def answers() -> dict[str, int]:
        return {name: time for name, time in file_times(tmp_path / "work/similar").items() if name.endswith(".npz")}

    store = mining_store(tmp_path)
    first = _near(store, tmp_path)
    written = answers()
    assert len(written) == 2  # one chunk of anchors: its answers, and these merged
    again = _near(store, tmp_path)
    assert answers() == written
    assert (again.ids == first.ids).all()
