"""Reading stored groups: rows they hold, and when they tell nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.duplicates.groups_manifest import groups_folder
from index.duplicates.segments import DuplicatesConfig
from index.duplicates.stored_groups import known_groups, open_groups
from index.errors import BadInput, StoreInvalid
from index.store.embedding_store import EmbeddingStore
from tests.index.duplicates.test_segments import find_groups
from tests.index.duplicates.worlds import groups_of, with_copies
from tests.index.vectors import grow, vector_store

VECTORS = with_copies(300, 60)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    opened = vector_store(tmp_path / "store", VECTORS)
    find_groups(DuplicatesConfig(str(opened.path)))
    return opened


def test_rows_in_any_order_have_their_groups_and_unknown_rows_are_refused(store: EmbeddingStore) -> None:
    groups = open_groups(store)
    assert groups is not None
    rows = np.array([299, 0, 250, 250])
    assert groups.of(rows).tolist() == groups_of(VECTORS)[rows].tolist()
    assert groups.of([]).tolist() == []
    for wrong in ([300], [-1]):
        with pytest.raises(BadInput, match="hold rows 0 to 299 only"):
            groups.of(wrong)


def test_groups_tell_of_their_limit_and_higher_ones_and_of_the_rows_they_hold(store: EmbeddingStore) -> None:
    rows = np.array([1, 280])
    assert known_groups(store, rows, 0.94) is not None
    assert known_groups(store, rows, 0.99) is not None
    assert known_groups(store, rows, 0.9) is None
    grown = grow(store, VECTORS[:5])
    assert known_groups(grown, rows, 0.94) is not None
    assert known_groups(grown, np.array([1, 301]), 0.94) is None


def test_a_store_without_groups_has_none(tmp_path: Path) -> None:
    other = vector_store(tmp_path / "other", VECTORS)
    assert open_groups(other) is None
    assert known_groups(other, np.array([1]), 0.94) is None


@pytest.mark.parametrize("content", [b"no column", None])
def test_a_damaged_column_is_named(store: EmbeddingStore, content: bytes | None) -> None:
    path = next(groups_folder(store).glob("*.groups.npy"))
    if content is None:
        np.save(path, np.arange(7))
    else:
        path.write_bytes(content)
    with pytest.raises(StoreInvalid, match=r"near_duplicates.*clipmine duplicates"):
        open_groups(store)
