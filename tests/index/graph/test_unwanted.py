"""Sorted lists of rows are looked up and merged as sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index.graph.unwanted import Unwanted, in_sorted, merge_sorted

_ROWS = st.sets(st.integers(0, 30))


@settings(max_examples=60, deadline=None)
@given(some=_ROWS, others=_ROWS)
def test_lists_are_looked_up_and_merged_as_sets(some: set[int], others: set[int]) -> None:
    one, other = (np.array(sorted(rows), np.int64) for rows in (some, others))
    assert merge_sorted(one, other[::-1]).tolist() == sorted(some | others)
    every = np.arange(-1, 31).reshape(4, 8)
    assert in_sorted(every, one).tolist() == np.isin(every, one).tolist()
    both = Unwanted(one, one).plus(Unwanted(other, other))
    assert both.positions.tolist() == both.copies.tolist() == sorted(some | others)
    assert both.has(every).tolist() == np.isin(every, both.positions).tolist()
