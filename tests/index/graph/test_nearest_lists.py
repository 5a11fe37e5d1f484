"""The nearest rows so far, compared with sorting all distances."""

from __future__ import annotations

import numpy as np
import torch

from index.graph.nearest_lists import NearestLists, smallest, smallest_on_device


def test_the_smallest_of_each_row_with_their_columns() -> None:
    distances = np.random.default_rng(0).integers(0, 1 << 22, (40, 300)).astype(np.float32)
    columns, values = smallest(distances, 12)
    wanted = np.argsort(distances // 8, axis=1, kind="stable")[:, :12]
    assert np.array_equal(np.sort(columns, axis=1), np.sort(wanted, axis=1))
    assert np.array_equal(values, np.take_along_axis(distances, columns, axis=1) // 8 * 8)
    by_torch = smallest_on_device(torch.from_numpy(distances), 12)
    assert np.array_equal(np.sort(columns, axis=1), np.sort(by_torch[0], axis=1))
    assert np.array_equal(np.sort(values, axis=1), np.sort(by_torch[1], axis=1))


def test_distances_beyond_the_largest_count_as_equal_and_are_not_negative() -> None:
    columns, values = smallest(np.array([[np.inf, 9e9, 16.0]], np.float32), 3)
    assert sorted(columns[0].tolist()) == [0, 1, 2]
    assert (values >= 0).all()
    assert values[0, columns[0] == 2] == 16


def test_lists_keep_the_nearest_of_all_that_were_added_once_each() -> None:
    lists = NearestLists(3, 3)
    lists.add(np.array([0, 2]), np.array([[8, 0], [16, 8]], np.int32), np.array([[5, 6], [7, 8]]))
    lists.add(np.array([2, 0]), np.array([[0, 8], [8, 24]], np.int32), np.array([[9, 8], [4, 1]]))
    assert lists.rows(0, 3).tolist() == [[6, 4, 5], [-1, -1, -1], [9, 8, 7]]
    assert lists.rows(1, 2).tolist() == [[-1, -1, -1]]
