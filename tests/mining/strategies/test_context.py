"""What a run asks for, and the table of candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from index.errors import BadInput
from mining.strategies.context import (
    CANDIDATES_SCHEMA,
    MiningConfig,
    MiningContext,
    candidates_table,
    padded,
    sentences,
)


@pytest.mark.parametrize(
    "choices",
    [
        {"sets": 0},
        {"max_per_image": 0},
        {"set_size": 1},
        {"seed": -1},
        {"near_duplicates": 0.0},
        {"min_shared_nouns": 0},
        {"levels": ()},
        {"captions": "none"},
        {"hold_out": 1.0},
        {"hold_out": -0.1},
        {"group_size": (1, 3)},
        {"group_size": (5, 3)},
        {"group_size": (3, 99)},
        {"sets": 10**22},
        {"set_size": 10**6},
        {"min_shared_nouns": 10**30},
    ],
)
def test_numbers_that_make_no_sense_are_refused(choices: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="--"):
        MiningConfig("store", "out", (("random", 1.0),), **choices)


def test_chance_depends_on_seed_strategy_and_purpose_alone() -> None:
    def drawn(seed: int, strategy: str, out: str, *purpose: int | str) -> int:
        ctx = MiningContext(MiningConfig("store", out, (("similar", 1.0),), seed=seed), strategy, 10, "work")
        return int(ctx.random(*purpose).integers(1 << 60))

    assert drawn(0, "similar", "a", "anchors") == drawn(0, "similar", "b", "anchors")
    assert len({drawn(0, "similar", "a", "anchors"), drawn(1, "similar", "a", "anchors")}) == 2
    assert len({drawn(0, "similar", "a", "anchors"), drawn(0, "random", "a", "anchors")}) == 2
    assert len({drawn(0, "similar", "a", "anchors"), drawn(0, "similar", "a", "anchors", 1)}) == 2


def test_candidates_come_from_arrays() -> None:
    table = candidates_table(
        np.array([[1, 2], [3, 9]]),
        level=np.array([2, 4]),
        reasons=[sentences("first {}", pa.array(["a", "b"])), sentences("second {}", np.array([0.5, 0.25]))],
        concept=pa.array(["dog", None], "string"),
    )
    assert table.schema == CANDIDATES_SCHEMA
    assert table["rows"].to_pylist() == [[1, 2], [3, 9]]
    assert table["level"].to_pylist() == [2, 4]
    assert table["reasons"].to_pylist() == [["first a", "second 0.50"], ["first b", "second 0.25"]]
    assert table["concept"].to_pylist() == ["dog", None]
    assert table["shared_nouns"].null_count == 2


def test_no_candidates_are_an_empty_table() -> None:
    table = candidates_table(np.empty((0, 2), np.int64), level=np.empty(0, np.int32), reasons=[])
    assert table.num_rows == 0
    assert table.schema == CANDIDATES_SCHEMA


def test_lists_of_rows_become_a_matrix() -> None:
    assert padded(pa.chunked_array([pa.array([[1, 2, 3], [4]])])).tolist() == [[1, 2, 3], [4, -1, -1]]
    assert padded(pa.chunked_array([pa.array([], pa.list_(pa.int64()))])).shape == (0, 2)


def test_the_sides_of_a_hold_out_draw_for_themselves() -> None:
    config = MiningConfig("store", "out", (("random", 1.0),))
    train, held, both = (
        MiningContext(config, "random", 1, "", split).random("x") for split in ("train", "held-out", None)
    )
    assert len({each.integers(1 << 40) for each in (train, held, both)}) == 3
