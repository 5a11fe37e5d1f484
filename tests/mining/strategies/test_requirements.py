"""Strategies that cannot run on a store are named before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import BadInput
from mining.strategies.context import MiningConfig
from mining.strategies.requirements import check_strategies
from tests.mining.selections import write_test_selection
from tests.mining.worlds import mining_store


def test_what_needs_captions_is_named_where_the_store_has_none_and_so_is_what_works(tmp_path: Path) -> None:
    store = mining_store(tmp_path, rows=12, text=False)
    mix = tuple((name, 0.25) for name in ("similar", "diverse", "contrast", "identity"))
    with pytest.raises(BadInput) as raised:
        check_strategies(MiningConfig(str(store.path), "out", mix), store)
    message = str(raised.value)
    for part in ("diverse needs text embeddings", "contrast needs text embeddings", "identity needs --entity FIELD"):
        assert part in message
    assert "or choose from similar, identity, overlap, attribute, random" in message
    check_strategies(MiningConfig(str(store.path), "out", (("similar", 1.0),)), store)


def test_diverse_over_concepts_needs_no_captions(tmp_path: Path) -> None:
    store = mining_store(tmp_path, rows=12, text=False)
    selection = write_test_selection(store, tmp_path / "selection", {"a": range(12)})
    check_strategies(MiningConfig(str(store.path), "out", (("diverse", 1.0),), selection=selection), store)
