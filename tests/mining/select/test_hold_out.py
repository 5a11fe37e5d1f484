"""Held-out sets that show a picture of the training sets."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

import mining.select.hold_out
from index.duplicates.near_duplicates import near_duplicate_groups
from index.duplicates.segments import DuplicatesConfig
from mining.select.hold_out import shows_training_pictures
from tests.index.duplicates.test_segments import find_groups
from tests.mining.worlds import mining_store


@pytest.mark.parametrize("held_bytes", [0, 1 << 30])
def test_the_same_row_and_its_copy_are_found_with_the_vectors_in_memory_and_on_disk(
    tmp_path: Path, held_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining.select.hold_out, "_HELD_BYTES", held_bytes)
    store = mining_store(tmp_path)  # rows 238 and 239 are one picture
    held = np.array([[1, 2, -1], [3, 239, -1], [4, 5, 0], [239, 6, 7]])
    shown = shows_training_pictures(store, held, np.array([[0, 238], [10, -1]]), 0.97)
    assert shown.tolist() == [False, True, True, True]


def test_files_that_are_equal_count_whatever_the_limit(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    assert shows_training_pictures(store, np.array([[1, 239]]), np.array([[0, 238]]), 1.01).tolist() == [True]


@pytest.mark.parametrize("exact", [10, 50_000])
def test_with_stored_groups_the_answer_is_the_same(tmp_path: Path, exact: int, monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = partial(near_duplicate_groups, exact=exact)
    monkeypatch.setattr(mining.select.hold_out, "near_duplicate_groups", grouped)
    store = mining_store(tmp_path)
    find_groups(DuplicatesConfig(str(store.path)))
    held = np.array([[1, 2, -1], [3, 239, -1], [4, 5, 0], [239, 6, 7]])
    shown = shows_training_pictures(store, held, np.array([[0, 238], [10, -1]]), 0.97)
    assert shown.tolist() == [False, True, True, True]
