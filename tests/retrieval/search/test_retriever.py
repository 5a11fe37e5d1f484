from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index.corpus.image_decoding import decode_image
from index.encoder.loading import load_encoder
from index.encoder.model_spec import ModelSpec
from index.errors import BadInput, ModelMismatch, StoreInvalid
from index.graph.build import IndexConfig
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image
from index.store.store_model import remember_model
from retrieval.search.retriever import Retriever
from tests.conftest import write_tiny_clip
from tests.index.vectors import Halves, build, clustered, exact_ids, vector_store
from tests.retrieval.stores import forget, make_store, random_unit


@pytest.fixture(scope="module")
def vectors() -> tuple[Halves, Halves]:
    return clustered(1_500)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, vectors: tuple[Halves, Halves]) -> EmbeddingStore:
    """Indexed in both modalities, the images in two shards; shared, do not change it."""
    store = vector_store(tmp_path_factory.mktemp("search"), *vectors)
    build(IndexConfig(str(store.path), "image", shard_rows=800, queries=50))
    build(IndexConfig(str(store.path), "text", queries=50))
    return store


@pytest.mark.parametrize("method", ["hnsw", "exact", None])
def test_modes_search_their_modality(store: EmbeddingStore, vectors: tuple[Halves, Halves], method: str | None) -> None:
    image, text = vectors
    retriever = Retriever(store)
    asked: list[tuple[Any, Halves, Halves]] = [("t2i", text, image), ("t2t", text, text), ("i2i", image, image)]
    for mode, queries, rows in asked:
        found = retriever.search(queries[:50], 10, mode, method, 500)
        assert (found.row_ids == exact_ids(rows, queries[:50], 10)).mean() > 0.98
        assert found.scores.dtype == np.float32
        assert found.row_ids.dtype == np.int64
        assert method is None or found.plan.method == method


@pytest.mark.parametrize("method", ["hnsw", "exact"])
def test_rows_without_a_caption_are_no_answers_to_t2t(
    tmp_path: Path, vectors: tuple[Halves, Halves], method: str
) -> None:
    image, text = vectors[0], vectors[1].copy()
    text[np.arange(len(text)) % 100 != 0] = 0
    store = vector_store(tmp_path, image, text)
    build(IndexConfig(str(store.path), "text", queries=10))
    found = Retriever(store).search(vectors[1][:20], 40, "t2t", method)
    captioned = len(text) // 100
    assert (found.row_ids[:, :captioned] % 100 == 0).all()
    assert (found.row_ids[:, captioned:] == -1).all()


def test_graph_and_scan_give_the_same_scores(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    retriever = Retriever(store)
    graph, scanned = (retriever.search(vectors[1][:100], 10, method=each, ef_search=700) for each in ("hnsw", "exact"))
    assert (graph.row_ids == scanned.row_ids).mean() > 0.99
    assert np.abs(graph.scores - scanned.scores).max() < 1e-6


def test_texts_and_images_are_encoded_with_the_store_s_model(
    small_store: EmbeddingStore, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    spec = ModelSpec(model_dir=str(tiny_clip_dir))
    encoder = load_encoder(spec, device="cpu")
    knows_its_model = EmbeddingStore.open(shutil.copytree(small_store.path, tmp_path / "store"))
    remember_model(knows_its_model.path, spec)
    retriever = Retriever(small_store, encoder)
    captions = small_store.metadata(range(5), ["caption"])["caption"].to_pylist()
    found = retriever.search(captions, 33, "t2t")
    again = Retriever(knows_its_model).search(captions, 33, "t2t")
    by_vectors = retriever.search(encoder.encode_texts(captions), 33, "t2t")
    # Another copy of the weights and another batch size may change the last bits of the float16 vectors.
    assert np.abs(found.scores - again.scores).max() < 2e-3
    assert np.abs(found.scores - by_vectors.scores).max() < 2e-3
    assert found.scores[:, 0].min() > 0.999  # each caption finds itself or its equal
    assert retriever.search([Image.new("RGB", (40, 40), "red")], 3, "i2i").row_ids.shape == (1, 3)


def test_queries_of_every_kind_are_answered_together(
    small_store: EmbeddingStore, tiny_clip_dir: Path, tmp_path: Path
) -> None:
    encoder = load_encoder(ModelSpec(model_dir=str(tiny_clip_dir)), device="cpu")
    retriever = Retriever(small_store, encoder)
    data = read_image(small_store, 5)
    (tmp_path / "shape.jpg").write_bytes(data)
    picture, vector = decode_image(data), small_store.gather("image", [5])[0]
    found = retriever.search(["a red circle", data, tmp_path / "shape.jpg", picture, vector, 5], 4, method="exact")
    by_text, by_bytes, by_path, by_picture, by_vector, by_row = found.row_ids.tolist()
    assert by_text == retriever.search(["a red circle"], 4, "t2i", "exact").row_ids[0].tolist()
    assert by_bytes[0] == by_path[0] == by_picture[0] == by_vector[0] == 5
    # The store's row was encoded in another batch, which may change the last bits of its float16 vector.
    assert np.abs(found.scores[1:4] - found.scores[4]).max() < 2e-3
    assert by_row[:3] == by_vector[1:]  # a row is not its own result
    captions = retriever.search(["a red circle", 5], 4, modality="text", method="exact").row_ids.tolist()
    assert captions[0] == retriever.search(["a red circle"], 4, "t2t", "exact").row_ids[0].tolist()
    caption = small_store.gather("text", [5])
    assert captions[1][:3] == [row for row in retriever.search(caption, 4, "t2t").row_ids[0].tolist() if row != 5][:3]


def test_a_row_may_be_searched_among_all_rows_and_a_forgotten_one_not(
    tmp_path: Path, vectors: tuple[Halves, Halves]
) -> None:
    store = vector_store(tmp_path, vectors[0][:20])
    retriever = Retriever(store)
    found = retriever.search([3, vectors[0][3]], 20)
    assert set(found.row_ids[0].tolist()) == {*range(20), -1} - {3}
    assert found.row_ids[0, -1] == -1
    assert found.scores[0, -1] == -np.inf
    assert found.row_ids[1, 0] == 3
    forget(store, [4])
    for row in (4, 20, -1):
        with pytest.raises(BadInput, match=f"query 0: no row {row} in"):
            retriever.search([row], 2)


def test_results_are_a_data_frame_with_key_and_caption(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(6))
    forget(store, [2])
    found = Retriever(store).search(random_unit(2, seed=4), 6)
    frame = found.to_pandas()
    assert list(frame.columns) == ["query", "rank", "row_id", "score", "key", "caption"]
    assert frame["row_id"].tolist() == found.row_ids[found.row_ids >= 0].tolist()
    assert frame["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    assert frame["key"].tolist() == [f"k{row:04d}" for row in frame["row_id"]]
    assert frame["caption"].tolist() == [f"caption {row}" for row in frame["row_id"]]
    assert list(found.to_pandas(["url"]).columns) == ["query", "rank", "row_id", "score", "url"]
    assert repr(found) == "SearchResult(2 queries, k 6, exact)"
    assert repr(Retriever(store)) == f"Retriever({str(store.path)!r}, 6 rows)"


def test_another_model_than_the_store_s_is_refused(small_store: EmbeddingStore, tmp_path: Path) -> None:
    other = load_encoder(ModelSpec(model_dir=str(write_tiny_clip(tmp_path, seed=1))), device="cpu")
    with pytest.raises(ModelMismatch, match="weights"):
        Retriever(small_store, other)


def test_queries_are_scaled_to_unit_length(store: EmbeddingStore, vectors: tuple[Halves, Halves]) -> None:
    queries = vectors[1][:20].astype(np.float64)
    found, scaled = (Retriever(store).search(queries * scale, 5, method="exact") for scale in (1, 7.5))
    assert np.array_equal(found.row_ids, scaled.row_ids)
    assert np.abs(found.scores - scaled.scores).max() < 2e-3


@pytest.mark.parametrize("method", ["hnsw", "exact"])
def test_rows_are_excluded_by_ids_or_by_mask(
    store: EmbeddingStore, vectors: tuple[Halves, Halves], method: str
) -> None:
    retriever, queries = Retriever(store), vectors[1][:20]
    unwanted = retriever.search(queries, 3, method=method).row_ids.ravel()
    mask = np.isin(np.arange(store.rows), unwanted)
    by_ids = retriever.search(queries, 10, method=method, exclude=unwanted)
    by_mask = retriever.search(queries, 10, method=method, exclude=mask)
    assert not np.isin(by_ids.row_ids, unwanted).any()
    assert np.array_equal(by_ids.row_ids, by_mask.row_ids)
    with pytest.raises(BadInput, match="has shape"):
        retriever.search(queries, 10, exclude=mask[:-1])


@pytest.mark.parametrize("method", ["hnsw", "exact"])
def test_forgotten_rows_are_gone_from_an_open_retriever(
    tmp_path: Path, vectors: tuple[Halves, Halves], method: str
) -> None:
    store = vector_store(tmp_path, vectors[0][:300], vectors[1][:300])
    build(IndexConfig(str(store.path), queries=20))
    retriever = Retriever(store)
    best = retriever.search(vectors[1][:5], 300, method=method).row_ids[:, 0]
    forget(store, best.tolist())
    after = retriever.search(vectors[1][:5], 300, method=method)
    left = 300 - len(np.unique(best))
    assert not np.isin(after.row_ids, best).any()
    assert (after.row_ids[:, left:] == -1).all()
    assert (np.sort(after.row_ids[:, :left], axis=1) >= 0).all()


def test_rows_that_no_walk_reaches_are_found_by_a_scan(tmp_path: Path) -> None:
    image, text = clustered(2_000, clusters=2_000)
    store = vector_store(tmp_path, image, text)
    build(IndexConfig(str(store.path), M=4, ef_construction=4, queries=20))
    found = Retriever(store).search(text[:20], 2_000, method="hnsw")
    assert all(set(rows) == set(range(2_000)) for rows in found.row_ids.tolist())


def test_without_an_index_the_store_is_scanned_and_says_so(tmp_path: Path, vectors: tuple[Halves, Halves]) -> None:
    store = vector_store(tmp_path, vectors[0][:100])
    plan = Retriever(store).search(vectors[1][:2], 5).plan
    assert plan.method == "exact"
    assert plan.why.startswith("there is no index")
    with pytest.raises(BadInput, match="has no text embeddings"):
        Retriever(store).search(vectors[1][:2], 5, "t2t")
    with pytest.raises(BadInput, match="has no text embeddings"):
        Retriever(store).plan("text", 1, 1)


def test_an_index_that_does_not_belong_is_an_error_not_a_slow_scan(
    tmp_path: Path, vectors: tuple[Halves, Halves]
) -> None:
    store = vector_store(tmp_path, vectors[0][:100])
    build(IndexConfig(str(store.path), queries=20))
    next(store.path.glob("index/image/*.faiss")).unlink()
    with pytest.raises(StoreInvalid, match="is missing from the index"):
        Retriever(store).search(vectors[1][:2], 5)
    assert Retriever(store).search(vectors[1][:2], 5, method="exact").row_ids.shape == (2, 5)


@pytest.mark.parametrize(
    ("queries", "options", "message"),
    [
        (np.ones((1, 32)), {"k": 1_501}, r"k is 1501: choose 1 to 1,?500"),
        (np.ones((1, 32)), {"k": 0}, "k is 0"),
        (np.ones((1, 31)), {"k": 5}, r"shape \(1, 31\)"),
        (np.ones(32), {"k": 5}, r"shape \(32,\)"),
        (np.ones((0, 32)), {"k": 5}, r"shape \(0, 32\)"),
        (np.zeros((1, 32)), {"k": 5}, "query 0: its vector is zero"),
        (np.full((1, 32), np.nan), {"k": 5}, "query 0: its vector is zero or not finite"),
        (np.ones((1, 32)), {"k": 5, "mode": "i2t"}, "unknown mode 'i2t': choose one of t2i, t2t, i2i"),
        (np.ones((1, 32)), {"k": 5, "method": "ivf"}, "unknown search method"),
        ([], {"k": 5}, "no queries"),
        ("dog", {"k": 5}, "give a list of queries"),
        (["dog"], {"k": 5, "mode": "i2i"}, "mode i2i does not take texts: use t2i or t2t"),
        ([Image.new("RGB", (8, 8))], {"k": 5, "mode": "t2i"}, "mode t2i does not take images: use i2i"),
        ([np.ones(31)], {"k": 5}, "query 0: its vector has 31 numbers, the store's have 32"),
        (np.ones((1, 32)), {"k": 5, "mode": "t2t", "modality": "image"}, "mode 't2t' searches the modality text"),
        (np.ones((1, 32)), {"k": 5, "modality": "video"}, "unknown modality 'video': choose one of image, text"),
    ],
)
def test_impossible_questions_get_one_clear_line(
    store: EmbeddingStore, queries: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        Retriever(store).search(queries, **options)
