"""A pool of pairs: what is kept does not depend on the order of the files, all is counted, and memory is bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from mining.strategies.captions import pair_pool
from mining.strategies.captions.pair_pool import pool_pairs, sample_pairs, spread


def files(count: int, size: int, seed: int = 0) -> list[npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ends = np.sort(rng.integers(0, 60, (size, 2)), axis=1)
        found.append(np.column_stack([ends, ends.sum(axis=1) % 4]))
    return found


def test_the_pool_is_that_of_all_pairs_at_once_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = files(12, 100)
    at_once = pool_pairs(pieces, 40, seed=3)
    monkeypatch.setattr(pair_pool, "AT_ONCE", 50)
    for order in (pieces, pieces[::-1]):
        assert np.array_equal(pool_pairs(iter(order), 40, seed=3).pairs, at_once.pairs)
    assert np.bincount(at_once.pairs[:, 2]).tolist() == [40] * 4


def test_every_pair_is_kept_or_repeated_or_surplus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_pool, "AT_ONCE", 50)
    pieces = files(12, 100)
    different = len(np.unique(np.concatenate(pieces), axis=0))
    for most in (1, 40, 10_000):
        pool = pool_pairs(pieces, most, seed=0)
        assert len(pool.pairs) + pool.repeated + pool.surplus == 1_200
        assert len(np.unique(pool.pairs, axis=0)) == len(pool.pairs)
    assert len(pool.pairs) == different
    assert pool.surplus == 0


def test_no_pairs_at_all_are_an_empty_pool() -> None:
    assert pool_pairs([], 10, seed=0).pairs.shape == (0, 3)


def test_memory_does_not_grow_with_the_number_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_pool, "AT_ONCE", 1_000)

    def many(count: int) -> Iterator[npt.NDArray[np.int64]]:
        for number in range(count):
            first = np.arange(number * 1_000, (number + 1) * 1_000)
            yield np.column_stack([first, first + 1, first % 2])

    peaks = []
    for count in (20, 200):
        tracemalloc.start()
        pool_pairs(many(count), 500, seed=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 200 * 1_000 * 24 / 4


def test_without_levels_the_sample_has_them_as_often_as_they_come() -> None:
    pairs = np.column_stack([np.arange(1_000), np.arange(1_000) + 1, np.repeat([1, 2], [900, 100])])
    kept = pairs[sample_pairs(pairs, 200, 0, by_level=False)]
    assert len(kept) == 200
    assert 5 < (kept[:, 2] == 2).sum() < 45


def test_pairs_of_a_frequent_caption_weigh_less() -> None:
    pairs = np.array([[0, 1, 3], [0, 2, 3], [0, 4, 3], [5, 6, 3]])
    assert spread(pairs, 4).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_common_levels_leave_a_caption_to_the_rare_level_that_needs_it() -> None:
    """Caption 0 is in all three pairs of level 9, and in two of the 100 pairs of level 1, of which 10 are taken."""
    rare = np.array([[0, 1, 9], [0, 2, 9], [0, 3, 9]])
    common = np.column_stack([np.arange(0, 200, 2), np.arange(1, 201, 2), np.ones(100, np.int64)])
    weights = spread(np.concatenate([rare, common]), 10)
    assert weights[3] == pytest.approx(1 / (3 + 0.1))
    assert weights[50] == pytest.approx(1 / 0.1)


def test_no_pairs_have_no_weights() -> None:
    assert spread(np.empty((0, 3), np.int64), 10).shape == (0,)
