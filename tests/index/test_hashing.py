"""Hashes of integers: the reference generator's numbers, and seeds, orders and rows that matter."""

from __future__ import annotations

import numpy as np

from index.hashing import GOLDEN_GAMMA, finalize64, hash_rows, mix64


def test_the_numbers_are_those_of_the_reference_generator() -> None:
    """The first three outputs of java.util.SplittableRandom from state 0, as the code in its paper gives them."""
    states = np.arange(3, dtype=np.uint64) * GOLDEN_GAMMA
    assert [f"{value:016x}" for value in mix64(states).tolist()] == [
        "e220a8397b1dcdaf",
        "6e789e6aa1b965f4",
        "06c45d188009454f",
    ]


def test_the_finalizer_maps_zero_to_zero_and_repeats_nothing() -> None:
    values = np.arange(100_000, dtype=np.uint64)
    finalized = finalize64(values)
    assert finalized[0] == 0
    assert len(np.unique(finalized)) == len(values)


def test_hashes_of_rows_are_spread() -> None:
    pairs = np.stack(np.triu_indices(600, 1), axis=1)
    hashes = hash_rows(pairs, 0)
    assert len(np.unique(hashes)) == len(pairs)
    assert abs(float((hashes >> np.uint64(63)).mean()) - 0.5) < 0.01


def test_seed_and_order_within_a_row_change_the_hash_and_other_rows_do_not() -> None:
    rows = np.array([[1, 2], [2, 1], [1, -1]])
    hashes = hash_rows(rows, 7)
    assert len(set(hashes.tolist())) == 3
    assert (hash_rows(rows, 8) != hashes).all()
    assert hash_rows(rows[1:], 7).tolist() == hashes[1:].tolist()
