"""The rows of each individual, a row group a bucket of names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import MiningContext
from mining.strategies.individual_rows import RangeItem, list_range, read_bucket
from tests.mining.conftest import mining_context
from tests.mining.worlds import mining_store

EXTRA = [
    {"who": ["ann", "bob"], "step": 2, "place": ["hall", "attic"]},
    {"who": "ann", "step": "two", "place": "hall"},
    {"who": 7, "step": 1},
    {"who": ["7", 7], "place": "hall"},
    {"step": 3},
]


def _listed(tmp_path: Path, buckets: int = 3, **choices: Any) -> tuple[MiningContext, RangeItem]:
    store: EmbeddingStore = mining_store(tmp_path, rows=5, extra=[json.dumps(each) for each in EXTRA])
    ctx = mining_context(store, tmp_path, "identity", entity="who", **choices)
    return ctx, RangeItem(
        "000000",
        0,
        5,
        buckets,
        ("extra", "extra" if "order" in choices else "", "extra" if "context" in choices else ""),
    )


def test_every_pair_of_row_and_individual_is_in_the_bucket_of_the_name(tmp_path: Path) -> None:
    ctx, item = _listed(tmp_path)
    seen = list_range(item, ctx)
    assert (seen.rows, seen.named, seen.unordered, seen.without_context) == (5, 5, 0, 0)
    assert list_range(item, ctx) == seen  # read from the file
    found = [read_bucket(ctx, ("000000",), bucket).to_pylist() for bucket in range(3)]
    pairs = [(one["entity"], one["row"]) for bucket in found for one in bucket]
    assert sorted(pairs) == [("7", 2), ("7", 3), ("ann", 0), ("ann", 1), ("bob", 0)]
    for bucket in found:  # all rows of a name are in one bucket
        names = {one["entity"] for one in bucket}
        assert not names & {one["entity"] for other in found if other is not bucket for one in other}


def test_rows_without_an_order_or_a_context_are_counted_and_left_out(tmp_path: Path) -> None:
    ctx, item = _listed(tmp_path, 1, order="step", context="place")
    seen = list_range(item, ctx)
    assert (seen.named, seen.unordered, seen.without_context) == (5, 1, 1)
    rows = read_bucket(ctx, ("000000",), 0).to_pylist()
    assert [(one["entity"], one["number"], one["word"], one["context"]) for one in rows] == [
        ("ann", 2.0, None, "attic and hall"),
        ("ann", None, "two", "hall"),
        ("bob", 2.0, None, "attic and hall"),
    ]
