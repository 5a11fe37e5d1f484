from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from retrieval.search.scan import scan, settle_scores
from tests.index.vectors import Halves, clustered, exact_ids, vector_store
from tests.retrieval.stores import forget


@pytest.fixture(scope="module")
def vectors() -> tuple[Halves, Halves]:
    image, text = clustered(1_500)
    text[700:] = text[:800]  # captions repeat
    return image, text


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, vectors: tuple[Halves, Halves]) -> EmbeddingStore:
    return vector_store(tmp_path_factory.mktemp("scan"), *vectors)


@pytest.mark.parametrize("k", [1, 30, 1_500])
def test_every_row_and_its_order_is_right_ties_included(
    store: EmbeddingStore, vectors: tuple[Halves, Halves], k: int
) -> None:
    queries = vectors[1][:60].astype(np.float32)
    for modality, rows in (("image", vectors[0]), ("text", vectors[1])):
        scores, ids = scan(store, modality, queries, k, device="cpu")  # type: ignore[arg-type]
        assert np.array_equal(ids, exact_ids(rows, queries, k))
        assert np.allclose(scores, np.take_along_axis(queries @ rows.astype(np.float32).T, ids, 1), atol=1e-6)


def test_a_query_alone_gets_the_rows_and_scores_that_it_gets_in_a_batch(
    store: EmbeddingStore, vectors: tuple[Halves, Halves]
) -> None:
    queries = vectors[1][:40]
    together = scan(store, "text", queries, 100, device="cpu")
    alone = [scan(store, "text", queries[i : i + 1], 100, device="cpu") for i in range(40)]
    for part in (0, 1):
        assert np.array_equal(together[part], np.concatenate([each[part] for each in alone]))


def test_parts_merged_and_settled_give_the_rows_of_the_whole(
    store: EmbeddingStore, vectors: tuple[Halves, Halves]
) -> None:
    queries, k = vectors[1][:50], 40
    whole = scan(store, "image", queries, k, device="cpu")
    cut = store.rows // 3
    halves = [
        scan(store, "image", queries, k, device="cpu", start=start, stop=stop)
        for start, stop in ((0, cut), (cut, store.rows))
    ]
    assert (halves[0][1] < cut).all()
    assert (halves[1][1] >= cut).all()
    scores, ids = (np.concatenate([half[part] for half in halves], axis=1) for part in (0, 1))
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    settle_scores(store, "image", queries, scores, ids, k)
    assert np.array_equal(ids[:, :k], whole[1])
    assert np.array_equal(scores[:, :k], whole[0])


def test_forgotten_and_excluded_rows_are_left_out_and_the_end_is_padded(tmp_path: Path) -> None:
    image, text = clustered(60)
    store = vector_store(tmp_path, image, text)
    forget(store, [3, 4])
    scores, ids = scan(store, "image", text[:5], 60, exclude=np.array([50, 4]), device="cpu")
    assert set(ids[:, :57].ravel().tolist()) == set(range(60)) - {3, 4, 50}
    assert (ids[:, 57:] == -1).all()
    assert np.isneginf(scores[:, 57:]).all()


@pytest.mark.parametrize(("shape", "k"), [((2, 31), 5), ((32,), 5), ((2, 32), 0)])
def test_impossible_questions_are_refused(store: EmbeddingStore, shape: tuple[int, ...], k: int) -> None:
    with pytest.raises(BadInput):
        scan(store, "image", np.ones(shape, np.float32), k)


def test_rows_that_are_not_finite_are_never_returned(tmp_path: Path) -> None:
    image, text = clustered(300)
    image[3, 5], image[7, 0], image[9, 2], image[11] = np.inf, -np.inf, np.nan, 0
    scores, ids = scan(vector_store(tmp_path, image), "image", text[:20].astype(np.float32), 300, device="cpu")
    assert np.isfinite(scores[:, :296]).all()
    assert (np.sort(ids[:, :296], axis=1) == np.setdiff1d(np.arange(300), [3, 7, 9, 11])).all()
    assert (ids[:, 296:] == -1).all()
