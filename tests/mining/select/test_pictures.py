"""Rows of one picture are known by the sum of its file, or by its URL."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mining.select.pictures import Pictures
from tests.mining.worlds import mining_store

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("sha256", "urls", "expected"),
    [
        ([A, B, A, B, A, "c" * 64], [None] * 6, [0, 1, 0, 1, 0, 5]),
        ([None] * 6, ["u/1", "u/2", None, "u/1", "", "u/2"], [0, 1, 2, 0, 4, 1]),
        ([A, None, A, None, "", None], ["u/1", "u/1", "u/2", "u/1", None, None], [0, 1, 0, 1, 4, 5]),
    ],
    ids=["files", "urls", "some files"],
)
def test_a_picture_is_named_by_its_first_row(
    tmp_path: Path, sha256: list[str], urls: list[str], expected: list[int]
) -> None:
    store = mining_store(tmp_path, 6, sha256=sha256, url=urls)
    pictures = Pictures(store, np.arange(6))
    assert pictures.of(np.arange(6)).tolist() == expected
    assert pictures.repeated == sum(row != first for row, first in enumerate(expected))


def test_only_the_rows_that_are_looked_at_count(tmp_path: Path) -> None:
    store = mining_store(tmp_path, 6, sha256=[A, B, A, B, A, B])
    members = np.array([[5, 2], [4, 3], [2, -1]])
    pictures = Pictures(store, members)
    assert pictures.of(members).tolist() == [[3, 2], [2, 3], [2, -1]]
    assert Pictures(store, np.empty((0, 2), np.int64)).of(np.empty((0, 2), np.int64)).shape == (0, 2)
