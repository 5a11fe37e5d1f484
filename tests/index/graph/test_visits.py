"""A query visits the shards whose nearest cells are about as near as the best; unwanted rows do not count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from index.graph.cells import GRID, on_grid
from index.graph.margins import Margins
from index.graph.visits import Visits

# Shard 0 holds 100 rows around each of the first two axes, shard 1 those of the third, shard 2 those of the fourth.
TABLE = np.array([[0, 0, 100], [0, 1, 100], [1, 2, 100], [2, 3, 100]])
LISTS = [
    (np.arange(200, dtype=np.uint32), np.repeat(np.array([0, 1], np.uint16), 100)),
    (np.arange(200, 300, dtype=np.uint32), np.full(100, 2, np.uint16)),
    (np.arange(300, 400, dtype=np.uint32), np.full(100, 3, np.uint16)),
]


def visits(margins: Margins | None) -> Visits:
    return Visits(on_grid(np.eye(4)), TABLE, lambda: LISTS, margins)


def query(*numbers: float) -> npt.NDArray[np.float32]:
    vector = np.array([numbers], np.float32)
    return vector / np.linalg.norm(vector)


def cosine(value: float) -> int:
    return round(value * GRID**2)


def test_shards_within_the_margin_are_visited() -> None:
    near = query(0.1, 0.9, 0.8, 0.1)
    assert np.allclose(visits(None).scores(near) / GRID**2, [[0.742, 0.66, 0.082]], atol=1e-3)
    for margin, expected in ((0.05, [1, 0, 0]), (0.1, [1, 1, 0]), (0.7, [1, 1, 1])):
        chosen = visits(Margins(cosine(margin), cosine(margin))).chosen(near, 10)
        assert chosen.tolist() == [[bool(one) for one in expected]]
    assert visits(None).chosen(near, 10).all()


def test_more_rows_need_more_shards() -> None:
    near = query(0.1, 0.9, 0.85, 0.1)
    found = visits(Margins(cosine(0.02), cosine(0.1)))
    assert [int(found.chosen(near, k).sum()) for k in (1, 10, 11, 12)] == [1, 1, 1, 1]
    found = visits(Margins(cosine(0.02), cosine(0.5)))
    assert [int(found.chosen(near, k).sum()) for k in (1, 10, 11, 12)] == [1, 1, 1, 2]


def test_the_visited_shards_hold_many_times_the_rows() -> None:
    found = visits(Margins(0, 0))
    near = query(0.1, 0.9, 0.8, 0.1)
    assert [int(found.chosen(near, k).sum()) for k in (10, 25, 26, 37, 38, 50, 51, 1_000)] == [1, 1, 2, 2, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ([], [1, 0, 0]),
        (range(100, 110), [1, 1, 0]),  # those may have been the best
        (range(100, 200), [1, 1, 1]),  # the best cell is empty, and so many rows may have stood before the best
        (range(400), [1, 1, 1]),
        (range(390), [1, 1, 1]),  # hardly a cell is left
        ([0], [1, 0, 0]),
    ],
)
def test_unwanted_rows_widen_the_search(gone: range | list[int], expected: list[int]) -> None:
    found = visits(Margins(cosine(0.1), cosine(0.2)))
    unwanted = found.unwanted(np.array(gone, np.int64))
    assert found.chosen(query(0.0, 0.9, 0.75, 0.1), 5, unwanted).tolist() == [[bool(one) for one in expected]]


def test_forgotten_rows_are_counted_once_and_excluded_ones_beside_them() -> None:
    found, forgotten = visits(None), np.array([3, 150, 350])
    assert found.unwanted(np.empty(0, np.int64)) is None
    alone = found.unwanted(forgotten)
    assert alone is not None
    assert alone.tolist() == [1, 1, 0, 1]
    both = found.unwanted(forgotten, np.array([250, 3, 250, 1_000]))
    assert both is not None
    assert both.tolist() == [1, 1, 1, 1]
    assert found.unwanted(forgotten, np.array([3])) is alone, "a search that excludes rows leaves the counts there"


def test_choices_do_not_depend_on_the_batch() -> None:
    rng = np.random.default_rng(2)
    queries = rng.normal(size=(60, 4)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found = visits(Margins(cosine(0.2), cosine(0.3)))
    whole = found.chosen(queries, 20)
    assert 0 < whole.mean() < 1
    assert np.array_equal(whole, np.concatenate([found.chosen(one[None], 20) for one in queries]))
    assert found.chosen(queries[:0], 20).shape == (0, 3)
    assert found.scores(queries[:0]).shape == (0, 3)


def test_the_visited_shards_hold_many_wanted_rows() -> None:
    # Of shard 0 the four cells near the query hold 8 rows, a far one 1,000, none of which is wanted.
    table = np.array([[0, 0, 2], [0, 1, 2], [0, 2, 2], [0, 3, 2], [0, 4, 1_000], [1, 5, 100], [2, 6, 100]])
    found = Visits(on_grid(np.eye(7)), table, list, Margins(0, 0))
    unwanted = np.array([0, 0, 0, 0, 1_000, 0, 0])
    near = query(0.9, 0.8, 0.8, 0.8, 0.1, 0.3, 0.2)
    assert [int(found.chosen(near, k, unwanted).sum()) for k in (1, 2, 13, 14)] == [1, 2, 2, 3]
