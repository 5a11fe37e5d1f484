"""Which rows may be mined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.minable import Minable, mark_rows, minable_rows
from tests.mining.conftest import mining_context
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import mining_store
from tests.retrieval.stores import forget


def test_draws_leave_out_forgotten_rows_and_repeat_with_the_seed(tmp_path: Path) -> None:
    store = mining_store(tmp_path)
    forget(store, range(0, 240, 2))
    minable = Minable(store)
    drawn = minable.sample(100, np.random.default_rng(1))
    assert (drawn % 2 == 1).all()
    assert (np.diff(drawn) > 0).all()
    assert (drawn == minable.sample(100, np.random.default_rng(1))).all()


def test_a_selection_leaves_its_rows_alone(world: EmbeddingStore, tmp_path: Path) -> None:
    selection = write_test_selection(world, tmp_path / "selection", {"a": [5, 3, 9], "b": [3, 200]})
    minable = minable_rows(mining_context(world, tmp_path, "random", selection=selection), world)
    assert minable.rows(0, 10).tolist() == [3, 5, 9, 200]
    assert set(minable.sample(100, np.random.default_rng(0)).tolist()) == {3, 5, 9, 200}


def test_a_selection_of_another_store_is_refused(world: EmbeddingStore, tmp_path: Path) -> None:
    other = mining_store(tmp_path, rows=12)
    selection = write_test_selection(other, tmp_path / "selection", {"a": [1, 2]})
    with pytest.raises(BadInput, match="was not retrieved from"):
        minable_rows(mining_context(world, tmp_path, "random", selection=selection), world)


@pytest.mark.parametrize(("kept", "said"), [(1, "has 1 row"), (0, "has 0 rows")])
def test_one_row_makes_no_pair(tmp_path: Path, kept: int, said: str) -> None:
    store = mining_store(tmp_path, rows=6)
    forget(store, range(kept, 6))
    with pytest.raises(BadInput, match=f"{said} that may be mined, and a pair needs two"):
        minable_rows(mining_context(store, tmp_path, "random"), store)


def test_rows_are_marked_in_any_shape() -> None:
    assert mark_rows(np.array([[1, 5], [7, 9]]), np.array([5, 9])).tolist() == [[False, True], [False, True]]
    assert mark_rows(np.array([1]), np.empty(0, np.int64)).tolist() == [False]
