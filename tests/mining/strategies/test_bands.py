"""Bands and thinning."""

from __future__ import annotations

import numpy as np

from mining.strategies.bands import equal_bands, equal_edges, even_bands, rank_in_groups, thin, unique_pairs


def test_bands_are_of_one_width_and_leave_out_what_is_outside() -> None:
    values = np.array([0.49, 0.5, 0.62, 0.63, 0.99, 1.0])
    assert even_bands(values, 0.5, 1.0).tolist() == [0, 1, 1, 2, 4, 0]
    assert even_bands(values, 1.0, 1.0).tolist() == [0] * 6


def test_equal_bands_hold_equally_many_and_may_have_the_edges_of_other_values() -> None:
    values = np.linspace(0, 1, 101)
    edges = equal_edges(values, 0.8)
    level = equal_bands(values, 0.8, edges)
    assert np.bincount(level).tolist() == [21, 20, 20, 20, 20]
    assert level[0] == 4
    assert equal_bands(np.array([0.1, 0.79, np.nan]), 0.8, edges).tolist() == [4, 1, 0]
    assert equal_edges(values, 0.0) == []


def test_a_pair_is_the_same_either_way_round() -> None:
    assert unique_pairs(np.array([[1, 2], [2, 1], [1, 3], [1, 2]])).tolist() == [0, 2]


def test_ranks_start_again_in_each_run() -> None:
    assert rank_in_groups(np.array([5, 5, 7, 7, 7, 1])).tolist() == [0, 1, 0, 1, 2, 0]
    assert rank_in_groups(np.empty(0, np.int64)).tolist() == []


def test_thinning_is_even_over_levels_and_the_same_for_any_order() -> None:
    pairs = np.arange(2_000).reshape(1_000, 2)
    levels = np.where(np.arange(1_000) < 20, 1, np.where(np.arange(1_000) < 500, 2, 3))
    kept = thin(pairs, levels, 120, seed=0)
    assert np.bincount(levels[kept]).tolist() == [0, 20, 50, 50]
    back = thin(pairs[::-1], levels[::-1], 120, seed=0)
    assert sorted(pairs[kept].tolist()) == sorted(pairs[::-1][back].tolist())
    assert thin(pairs[:5], levels[:5], 120, seed=0).tolist() == [0, 1, 2, 3, 4]
