"""Indexes with rounded vectors: exact scores, the recall of the contract, and all that changes a store."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from index.errors import BadInput
from index.graph.build import IndexConfig, build_index_item, plan_index_items
from index.graph.codecs import CODEC_NAMES, check_codec, has_links, is_rounded, least_candidates
from index.graph.index_manifest import index_folder
from index.graph.search_index import open_index
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.verify import verify_store
from tests.index.vectors import Halves, build, clustered, exact_ids, grow, vector_store

SMALL = ["sq4", "rabitq"]
ROWS = 3_000


@pytest.fixture(scope="module", params=SMALL)
def indexed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbeddingStore, Halves]:
    """A store in two shards and its captions; shared, do not change it."""
    image, text = clustered(ROWS)
    store = vector_store(tmp_path_factory.mktemp("codecs"), image, text)
    build(IndexConfig(str(store.path), codec=request.param, shard_rows=2_000, queries=100))
    return store, text


def test_scores_and_order_are_those_of_exact_vectors(indexed: tuple[EmbeddingStore, Halves]) -> None:
    store, text = indexed
    index = open_index(store, "image")
    assert index.recall is not None
    assert index.recall.met
    asked = text[1::30].astype(np.float32)
    scores, rows = index.search(asked, 10)
    vectors = store.gather("image", np.arange(ROWS))
    exact = np.einsum("qd,qkd->qk", asked.astype(np.float64), vectors[rows].astype(np.float64))
    np.testing.assert_array_equal(scores, exact.astype(np.float32))
    assert (np.diff(scores, axis=1) <= 0).all()
    truth = exact_ids(vectors.astype(np.float16), asked, 10)
    assert np.mean([np.isin(best, some).mean() for best, some in zip(truth, rows, strict=True)]) > 0.95
    alone = [index.search(query[None], 10) for query in asked[:5]]
    np.testing.assert_array_equal(np.concatenate([found for _, found in alone]), rows[:5])


def test_excluded_rows_are_replaced_by_the_next_ones(indexed: tuple[EmbeddingStore, Halves]) -> None:
    store, text = indexed
    index = open_index(store, "image")
    asked, vectors = text[1::60].astype(np.float32), store.gather("image", np.arange(ROWS)).astype(np.float16)
    gone = np.unique(exact_ids(vectors, asked, 5))
    rows = index.search(asked, 10, exclude=gone)[1]
    assert not np.isin(rows, gone).any()
    left = np.setdiff1d(np.arange(ROWS), gone)
    truth = left[exact_ids(vectors[left], asked, 10)]
    assert np.mean([np.isin(best, some).mean() for best, some in zip(truth, rows, strict=True)]) > 0.95


@pytest.mark.parametrize("codec", SMALL)
def test_forgotten_rows_compaction_growth_and_verify(codec: str, tmp_path: Path) -> None:
    image, text = clustered(1_600)
    store = vector_store(tmp_path, image[:1_200], text[:1_200])
    config = IndexConfig(str(store.path), codec=codec, queries=40)
    build(config)
    forget_rows(store, row_ids=range(100, 140))
    store = grow(EmbeddingStore.open(store.path), image[1_200:], text[1_200:])
    compact_store(str(store.path))
    for _ in range(2):  # with a tail, then indexed
        store = EmbeddingStore.open(store.path)
        rows = open_index(store, "image").search(image[100:140].astype(np.float32), 20)[1]
        assert not np.isin(rows, np.arange(100, 140)).any()
        assert (rows >= 1_200).any()
        assert build(IndexConfig(str(store.path))).codec == codec
    assert not verify_store(store.path).problems


@pytest.mark.parametrize("codec", SMALL)
def test_near_copies_hide_no_other_rows(codec: str, tmp_path: Path) -> None:
    image, text = clustered(2_400)
    rng = np.random.default_rng(1)
    crowd = image[0].astype(np.float64) + 0.003 * rng.normal(size=(800, image.shape[1]))
    image[::3] = crowd / np.linalg.norm(crowd, axis=1, keepdims=True)
    store = vector_store(tmp_path, image, text)
    contract = build(IndexConfig(str(store.path), codec=codec, queries=100)).recall
    assert contract.strata
    assert contract.least_recall_at_10 >= 0.95


@pytest.mark.parametrize("codec", SMALL)
def test_the_same_rows_give_the_same_bytes(codec: str, tmp_path: Path) -> None:
    image, text = clustered(9_000, dim=16)  # enough for links that fit captions
    names, before = [], faiss.omp_get_max_threads()
    for threads in (1, 2):
        store = vector_store(tmp_path / str(threads), image, text)
        config = IndexConfig(str(store.path), codec=codec, ef_construction=32)
        faiss.omp_set_num_threads(threads)
        try:
            for item in plan_index_items(config):
                build_index_item(item, config)
        finally:
            faiss.omp_set_num_threads(before)
        folder = index_folder(store, "image")
        names.append({file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()})
    assert names[0] == names[1]


@pytest.mark.parametrize("codec", SMALL)
def test_a_store_without_a_usable_row_in_one_shard_is_indexed(codec: str, tmp_path: Path) -> None:
    image, text = clustered(300)
    image[:100] = 0
    store = vector_store(tmp_path, image, text)
    assert build(IndexConfig(str(store.path), codec=codec, shard_rows=100, queries=20)).indexed == 200


def test_a_codec_that_faiss_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(faiss, "IndexIVFRaBitQ")
    with pytest.raises(BadInput, match="codec rabitq needs a newer faiss than"):
        check_codec("rabitq")
    check_codec("sq4")
    with pytest.raises(BadInput, match="unknown codec 'pq': choose one of fp16, sq8, sq4, rabitq"):
        check_codec("pq")


def test_what_is_ranked_again() -> None:
    assert [codec for codec in CODEC_NAMES if is_rounded(codec)] == ["sq8", "sq4", "rabitq"]
    assert [codec for codec in CODEC_NAMES if not has_links(codec)] == ["rabitq"]
    assert [least_candidates(codec, 200) for codec in CODEC_NAMES] == [1, 50, 200, 200]
