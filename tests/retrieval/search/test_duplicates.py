from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from retrieval.search.duplicates import greedy_duplicates, near_duplicates, repeats, sha256_words
from tests.index.duplicates.worlds import groups_of, with_copies
from tests.retrieval.stores import random_unit, unit


def around(angles: list[float]) -> npt.NDArray[np.float16]:
    radians = np.radians(angles)
    return unit(np.stack([np.cos(radians), np.sin(radians)], axis=1))


def test_a_row_goes_when_a_better_row_within_the_threshold_stays() -> None:
    assert greedy_duplicates(around([0, 5, 90, 87]), np.cos(np.radians(10))).tolist() == [False, True, False, True]


def test_a_chain_of_small_steps_is_not_one_duplicate() -> None:
    dropped = greedy_duplicates(around([0, 8, 16, 24]), np.cos(np.radians(10)))
    assert dropped.tolist() == [False, True, False, True]


def test_greedy_over_blocks_equals_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.search.duplicates._BLOCK", 7)
    vectors = random_unit(60, dim=3, seed=1)
    wide = vectors.astype(np.float32)
    kept: list[int] = []
    for row in range(len(wide)):
        if all(wide[row] @ wide[other] < 0.9 for other in kept):
            kept.append(row)
    assert np.flatnonzero(~greedy_duplicates(vectors, 0.9)).tolist() == kept


def test_many_rows_are_compared_in_cells_and_close_copies_are_found() -> None:
    originals = random_unit(3_000, dim=16, seed=2)
    noise = np.random.default_rng(3).normal(scale=0.02, size=(1_000, 16))
    copies = unit(originals[:1_000].astype(np.float64) + noise)
    vectors = np.concatenate([originals, copies])
    rows = np.arange(len(vectors))
    exact = near_duplicates(rows, lambda chosen: vectors[chosen], 0.97)
    cells = near_duplicates(rows, lambda chosen: vectors[chosen], 0.97, exact_rows=1_000)
    assert exact[3_000:].sum() > 950
    assert not (cells & ~exact).any()
    assert (cells & exact).sum() >= 0.99 * exact.sum()


@pytest.mark.parametrize("block", [7, 2_048])
def test_where_groups_are_known_the_rows_of_each_are_compared(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.search.duplicates._BLOCK", block)
    vectors = with_copies(1_000, 300)
    rows = np.random.default_rng(0).permutation(1_000)
    groups = groups_of(vectors)
    within = near_duplicates(rows, lambda chosen: vectors[chosen], 0.94, groups=lambda some: groups[some], exact_rows=5)
    assert within.tolist() == near_duplicates(rows, lambda chosen: vectors[chosen], 0.94).tolist()
    # A higher threshold than that of the groups is answered too.
    within = near_duplicates(rows, lambda chosen: vectors[chosen], 0.98, groups=lambda some: groups[some], exact_rows=5)
    assert within.tolist() == near_duplicates(rows, lambda chosen: vectors[chosen], 0.98).tolist()


def test_one_group_of_all_rows_and_unknown_groups_are_compared_in_cells() -> None:
    vectors = with_copies(3_000, 500)
    rows = np.arange(3_000)
    alone = near_duplicates(rows, lambda chosen: vectors[chosen], 0.97, exact_rows=1_000)
    for answer in (lambda some: np.zeros(len(some), np.int64), lambda some: None):
        found = near_duplicates(rows, lambda chosen: vectors[chosen], 0.97, groups=answer, exact_rows=1_000)
        assert found.tolist() == alone.tolist()


def test_repeats_point_at_all_but_the_first_of_equal_keys() -> None:
    assert repeats(np.array([1, 2, 1, 1]), np.array([0, 0, 0, 5])).tolist() == [False, False, True, False]
    assert repeats(np.array([], np.int64)).tolist() == []


def test_digests_become_two_words_and_missing_ones_are_known_as_such() -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    high, low, known = sha256_words(pa.chunked_array([[digest, None, digest]]))
    assert f"{high[0]:016x}{low[0]:016x}" == digest[:32]
    assert high[0] == high[2]
    assert low[0] == low[2]
    assert known.tolist() == [True, False, True]
