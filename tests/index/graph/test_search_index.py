"""The shards of an index answer as one, without forgotten rows; an index that does not fit its store is refused."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput, StoreInvalid
from index.graph import search_index
from index.graph.build import IndexConfig
from index.graph.index_manifest import index_folder, read_index_manifest
from index.graph.search_index import has_index, open_index
from index.graph.shard_files import check_files
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import write_manifest
from tests.index.vectors import Halves, build, clustered, exact_ids, grow, vector_store
from tests.retrieval.stores import forget

ROWS, GONE = 3_000, 1_203  # GONE: a zero row in the second shard


@pytest.fixture(scope="module")
def vectors() -> tuple[Halves, Halves]:
    image, text = clustered(ROWS)
    image[GONE] = 0
    return image, text


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, vectors: tuple[Halves, Halves]) -> EmbeddingStore:
    """Indexed in three shards; shared, do not change it."""
    store = vector_store(tmp_path_factory.mktemp("indexed"), *vectors)
    build(IndexConfig(str(store.path), "image", shard_rows=1_000, queries=50))
    return store


@pytest.fixture
def own(tmp_path: Path, vectors: tuple[Halves, Halves]) -> EmbeddingStore:
    """A small store, indexed in two shards, for a test to change."""
    store = vector_store(tmp_path, vectors[0][:400], vectors[1][:400])
    build(IndexConfig(str(store.path), "image", shard_rows=250, queries=20))
    return store


def test_shards_answer_as_one(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    queries = vectors[1][:200].astype(np.float32)
    scores, ids = open_index(store, "image").search(queries, 20, 1_000)
    assert (ids == exact_ids(vectors[0], queries, 20)).mean() > 0.99
    assert np.abs(scores - np.take_along_axis(queries @ vectors[0].astype(np.float32).T, ids, 1)).max() < 1e-6
    assert ids.dtype == np.int64
    assert scores.dtype == np.float32


def test_rows_find_their_neighbours_from_their_own_nodes(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    rows = np.array([5, 999, 1_000, 2_999, 1_500])
    scores, ids = open_index(store, "image").search_rows(rows, 20, 1_000)
    exact = exact_ids(vectors[0], vectors[0][rows].astype(np.float32), 21)
    assert (exact[:, 0] == rows).all()
    assert (ids == exact[:, 1:]).mean() > 0.98
    assert (np.diff(scores, axis=1) <= 0).all()
    true = np.einsum("qd,qkd->qk", vectors[0][rows].astype(np.float32), vectors[0][ids].astype(np.float32))
    assert np.abs(scores - true).max() < 2e-3


def test_a_walk_from_a_rows_own_node_may_have_an_ef_search_below_k(
    store: EmbeddingStore, vectors: tuple[Halves, Halves]
) -> None:
    rows = np.arange(0, 3_000, 50)
    exact = exact_ids(vectors[0], vectors[0][rows].astype(np.float32), 21)[:, 1:]
    shares = []
    for ef_search in (1, 8, 40):
        scores, ids = open_index(store, "image").search_rows(rows, 20, ef_search)
        assert (ids >= 0).all()
        assert (np.diff(scores, axis=1) <= 0).all()
        shares.append((ids[:, :, None] == exact[:, None, :]).any(axis=1).mean())
    assert shares == sorted(shares)


def test_rows_of_other_shards_and_beside_forgotten_ones_are_searched_for_too(
    own: EmbeddingStore, vectors: tuple[Halves, Halves]
) -> None:
    exact = exact_ids(vectors[0][:400], vectors[0][[3, 300]].astype(np.float32), 400)
    second = open_index(own, "image", shards=[1])
    ids = second.search_rows(np.array([3, 300]), 10, 400)[1]
    for found, wanted, row in zip(ids, exact, (3, 300), strict=True):
        assert (found == wanted[(wanted >= 250) & (wanted != row)][:10]).mean() > 0.9
    forget(own, [300, 301])
    ids = open_index(EmbeddingStore.open(own.path), "image").search_rows(np.array([300, 7]), 10, 400)[1]
    assert not np.isin(ids, [300, 301]).any()
    assert not (ids[1] == 7).any()


def test_a_row_that_shares_its_node_finds_its_copies(tmp_path: Path, vectors: tuple[Halves, Halves]) -> None:
    image = vectors[0][:300].copy()
    image[[40, 170]] = image[8]
    twins = vector_store(tmp_path, image, vectors[1][:300])
    build(IndexConfig(str(twins.path), "image", queries=20))
    ids = open_index(twins, "image").search_rows(np.array([8, 40, 170]), 5, 300)[1]
    assert [set(found[:2].tolist()) for found in ids] == [{40, 170}, {8, 170}, {8, 40}]


def test_some_of_the_shards_find_their_rows_by_the_same_row_ids(
    store: EmbeddingStore, vectors: tuple[Halves, Halves]
) -> None:
    queries = vectors[1][:50]
    whole = open_index(store, "image").search(queries, 3_000)[1]
    some = open_index(store, "image", shards=[0, 2])
    assert some.shards == 2
    ids = some.search(queries, 20, 3_000)[1]
    for row, every in zip(ids, whole, strict=True):
        assert row.tolist() == [found for found in every if found < 1_000 or found >= 2_000][:20]


def test_a_shard_is_opened_without_the_files_of_the_others(own: EmbeddingStore) -> None:
    folder = index_folder(own, "image")
    manifest = read_index_manifest(folder)
    assert manifest is not None
    (folder / manifest.shards[1].file).unlink()
    ids = open_index(own, "image", shards=[0]).search(own.gather("image", [3]), 5)[1]
    assert ids[0, 0] == 3
    assert (ids < 250).all()


def test_a_shard_of_zero_rows_alone_finds_nothing(tmp_path: Path) -> None:
    image = clustered(300, seed=3)[0]
    image[200:] = 0
    store = vector_store(tmp_path, image)
    build(IndexConfig(str(store.path), "image", shard_rows=200, queries=20))
    scores, ids = open_index(store, "image", shards=[1]).search(image[:2], 4)
    assert (ids == -1).all()
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("number", [-1, 3])
def test_a_shard_that_is_not_there_is_named(store: EmbeddingStore, number: int) -> None:
    with pytest.raises(BadInput, match=f"image index has 3 shards, so no shard {number}"):
        open_index(store, "image", shards=[number])


def test_ef_search_is_the_contract_s_and_k_at_least(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    index, queries = open_index(store, "image"), vectors[1][:50]
    assert index.recall is not None
    assert index.ef_search == index.recall.ef_search
    assert np.array_equal(index.search(queries, 5)[1], index.search(queries, 5, index.ef_search)[1])
    assert np.array_equal(index.search(queries, 300, 1)[1], index.search(queries, 300, 300)[1])


def test_a_query_alone_and_in_a_batch_gets_the_same_rows(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    index, queries = open_index(store, "image"), vectors[1][:40]
    together = index.search(queries, 10)[1]
    assert all(np.array_equal(index.search(queries[i : i + 1], 10)[1][0], together[i]) for i in range(40))


def test_threads_may_search_at_once_with_their_own_ef_search(
    store: EmbeddingStore, vectors: tuple[Halves, Halves]
) -> None:
    index, queries, efs = open_index(store, "image"), vectors[1][:100], [10, 40, 160, 640] * 6
    alone = {ef: index.search(queries, 10, ef)[1] for ef in set(efs)}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda ef: index.search(queries, 10, ef)[1], efs))
    assert all(np.array_equal(rows, alone[ef]) for ef, rows in zip(efs, found, strict=True))


def test_forgotten_rows_are_gone_at_once_and_k_are_still_found(
    own: EmbeddingStore, vectors: tuple[Halves, Halves]
) -> None:
    index, queries = open_index(own, "image"), vectors[1][:30]
    best = index.search(queries, 10, 400)[1]
    forget(own, np.unique(best[:, :3]).tolist())
    after = index.search(queries, 10, 400)[1]
    assert not np.isin(after, best[:, :3]).any()
    assert (after >= 0).all()
    assert not np.isin(open_index(own, "image").search(queries, 10)[1], best[:, :3]).any()


def test_rows_can_be_excluded_for_one_call(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    index, queries = open_index(store, "image"), vectors[1][:30]
    best = index.search(queries, 10, 400)[1]
    unwanted = np.unique(best[:, 0])
    assert not np.isin(index.search(queries, 10, 400, exclude=unwanted)[1], unwanted).any()
    assert np.array_equal(index.search(queries, 10, 400)[1], best)


def test_zero_rows_are_not_returned_and_shift_nothing(own: EmbeddingStore, tmp_path: Path) -> None:
    image = clustered(300, seed=3)[0]
    image[[0, 9, 10, 250]] = 0
    store = vector_store(tmp_path / "zeros", image)
    build(IndexConfig(str(store.path), "image", shard_rows=200, queries=20))
    scores, ids = open_index(store, "image").search(image[1:9], 296)
    assert ids[:, 0].tolist() == list(range(1, 9))
    assert set(ids[0].tolist()) == set(range(300)) - {0, 9, 10, 250}
    scores, ids = open_index(store, "image").search(image[1:9], 300)
    assert (ids[:, 296:] == -1).all()
    assert np.isneginf(scores[:, 296:]).all()


def test_sq8_is_ranked_again_in_fp16(tmp_path: Path, vectors: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, *vectors)
    build(IndexConfig(str(store.path), "image", codec="sq8", queries=50))
    queries = vectors[1][:100].astype(np.float32)
    scores, ids = open_index(store, "image").search(queries, 10, 1_000)
    assert (ids == exact_ids(vectors[0], queries, 10)).mean() > 0.99
    assert np.abs(scores - np.take_along_axis(queries @ vectors[0].astype(np.float32).T, ids, 1)).max() < 1e-6


def test_no_index_names_the_command(own: EmbeddingStore) -> None:
    assert has_index(own, "image")
    assert not has_index(own, "text")
    with pytest.raises(StoreInvalid, match=r"has no text index; run `clipmine index .* --modality text`"):
        open_index(own, "text")


def test_an_index_of_another_model_is_refused(own: EmbeddingStore) -> None:
    path = own.path / "index/image/index.json"
    plain = json.loads(path.read_text())
    plain["model"]["weights"] = "others"
    del plain["checksum"]  # as if it had been built so
    path.write_text(json.dumps(plain))
    with pytest.raises(StoreInvalid, match="built with another model's vectors"):
        open_index(own, "image")


def test_replaced_vectors_are_noticed_and_compaction_is_no_replacement(own: EmbeddingStore) -> None:
    # Shards have 250 rows and parts 133, so a part's checksum counts for shards that lost no row.
    forget(own, [5, 255])
    compact_store(str(own.path))
    store = EmbeddingStore.open(own.path)
    index = open_index(store, "image")
    assert not np.isin(index.search(store.gather("image", list(range(60))), 20)[1], [5, 255]).any()
    first = store.parts[0]
    files = {**first.files, "image": replace(first.files["image"], size=1, origin=None)}
    write_manifest(str(store.path), replace(store.manifest, parts=(replace(first, files=files), *store.parts[1:])))
    with pytest.raises(StoreInvalid, match="vectors were replaced after the image index was built"):
        open_index(EmbeddingStore.open(store.path), "image")


def test_an_open_index_tells_when_a_newer_one_or_a_grown_store_is_there(
    own: EmbeddingStore, vectors: tuple[Halves, Halves]
) -> None:
    index = open_index(own, "image")
    assert not index.stale()
    forget(own, [3])  # is hidden at once
    assert not index.stale()
    grown = grow(own, vectors[0][400:500], vectors[1][400:500])
    assert own.changed()
    assert index.stale()
    again = open_index(grown, "image")
    assert not again.stale()
    build(IndexConfig(str(own.path)))
    assert again.stale()
    assert not grown.changed()
    assert not open_index(grown, "image").stale()


def test_a_switch_to_other_shards_while_an_index_is_opened_is_followed(
    own: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def switch_meanwhile(*args: Any, **more: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            build(IndexConfig(str(own.path), shard_rows=200))  # removes the shards that are being opened
        check_files(*args, **more)

    monkeypatch.setattr(search_index, "check_files", switch_meanwhile)
    index = open_index(own, "image")
    assert len(calls) == 2
    assert not index.stale()


def test_a_store_that_has_shrunk_is_refused(own: EmbeddingStore) -> None:
    write_manifest(str(own.path), replace(own.manifest, parts=own.parts[:2]))
    with pytest.raises(StoreInvalid, match="has shrunk from 400 to 266 rows since its image index was built"):
        open_index(EmbeddingStore.open(own.path), "image")


def test_a_damaged_index_json_is_refused(own: EmbeddingStore) -> None:
    (own.path / "index/image/index.json").write_text('{"format": "clipmine-index", "version": 3}')
    with pytest.raises(StoreInvalid, match=r"index\.json: is damaged"):
        open_index(own, "image")


@pytest.mark.parametrize(("shape", "k", "ef"), [((2, 31), 5, 9), ((32,), 5, 9), ((2, 32), 0, 9), ((2, 32), 5, 0)])
def test_impossible_questions_are_refused(store: EmbeddingStore, shape: tuple[int, ...], k: int, ef: int) -> None:
    with pytest.raises(BadInput):
        open_index(store, "image").search(np.ones(shape, np.float32), k, ef)
