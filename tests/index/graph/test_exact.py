"""The exact scan finds what sorting all scores finds, in tiles and blocks of any size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from index.graph.exact import exact_top_k
from tests.index.vectors import clustered, exact_ids


def _blocks(vectors: npt.NDArray[np.floating], size: int) -> Iterator[tuple[int, npt.NDArray[np.floating]]]:
    for first in range(0, len(vectors), size):
        yield first, vectors[first : first + size]


@pytest.mark.parametrize(("size", "k"), [(1_000, 5), (137, 50), (1_000, 999), (100_000, 1_000)])
def test_finds_what_sorting_everything_finds(size: int, k: int) -> None:
    image, text = clustered(2_500)
    queries = text[:40].astype(np.float32)
    scores, ids = exact_top_k(_blocks(image, size), queries, k)
    assert (ids == exact_ids(image, queries, k)).mean() > 0.999  # fp32 may swap scores that differ in the 8th digit
    assert (np.diff(scores, axis=1) <= 0).all()
    assert np.abs(scores - np.take_along_axis(queries @ image.astype(np.float32).T, ids, 1)).max() < 1e-6


def test_crosses_tiles_of_rows_and_of_queries() -> None:
    image, text = clustered(17_000, dim=8)
    queries = text[:1_030].astype(np.float32)
    _, ids = exact_top_k(_blocks(image, 16_900), queries, 20)
    assert (ids == exact_ids(image, queries, 20)).mean() > 0.999


def test_of_equal_scores_the_smaller_row_id_comes_first() -> None:
    vectors = np.tile(np.eye(4, dtype=np.float16), (5_000, 1))
    _, ids = exact_top_k(_blocks(vectors, 3_000), np.eye(4, dtype=np.float32), 30)
    for query in range(4):
        assert ids[query].tolist() == list(range(query, 120, 4))


def test_negative_scores_are_in_order() -> None:
    vectors = -np.linspace(0.1, 1, 50, dtype=np.float32)[:, None]
    scores, ids = exact_top_k(_blocks(vectors, 7), np.ones((1, 1), np.float32), 3)
    assert ids.tolist() == [[0, 1, 2]]
    assert scores[0, 0] == pytest.approx(-0.1)


def test_excluded_zero_and_broken_rows_are_left_out() -> None:
    image, text = clustered(200)
    image[5], image[6], image[7] = 0, np.nan, np.inf
    scores, ids = exact_top_k(_blocks(image, 60), text[:10].astype(np.float32), 200, excluded=np.array([0, 199]))
    assert set(ids[:, :195].ravel().tolist()) == set(range(200)) - {0, 5, 6, 7, 199}
    assert (ids[:, 195:] == -1).all()
    assert np.isneginf(scores[:, 195:]).all()


def test_a_row_that_is_infinite_in_one_place_wins_nothing_and_disturbs_nobody() -> None:
    image, text = clustered(200)
    queries = text[:10].astype(np.float32)
    good = exact_ids(image, queries, 20)
    spoiled = [row for row in range(200) if row not in good][:3]
    image[spoiled[0], 4], image[spoiled[1], 0], image[spoiled[2], 1] = np.inf, -np.inf, np.nan
    queries[9, 3] = np.nan
    scores, ids = exact_top_k(_blocks(image, 60), queries, 20)
    assert (ids[:9] == good[:9]).all()
    assert np.isfinite(scores[:9]).all()
    assert (ids[9] == -1).all()


def test_no_queries_and_no_rows_give_empty_answers() -> None:
    image, text = clustered(20)
    assert exact_top_k(_blocks(image, 7), text[:0], 3)[1].shape == (0, 3)
    assert (exact_top_k(iter([]), text[:2], 3)[1] == -1).all()


def test_an_error_while_reading_reaches_the_caller() -> None:
    def broken() -> Iterator[tuple[int, npt.NDArray[np.floating]]]:
        yield 0, clustered(20)[0]
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        exact_top_k(broken(), clustered(2)[1], 3)
