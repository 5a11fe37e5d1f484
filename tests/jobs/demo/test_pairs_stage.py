"""The sets that the report shows come from those that were mined."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.demo import pairs_stage
from jobs.demo.pairs_stage import SHOWN, gather_strips, mine_demo
from jobs.mine_job import run_mine
from mining.strategies.context import MiningConfig
from mining.strategies.registry import STRATEGIES
from tests.mining.worlds import index_both, mining_store
from tests.retrieval.stores import make_store, random_unit


def test_strips_show_sets_of_each_strategy(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(24))
    out = str(tmp_path / "pairs")
    sets = run_mine(MiningConfig(str(store.path), out, (("random", 0.5), ("similar", 0.5)), sets=12))
    strips = gather_strips(store, sets)
    assert [strip.strategy for strip in strips] == ["random", "similar"]
    assert len(strips[0].sets) == SHOWN
    assert all(len(data) > 100 and caption for each in strips[0].sets for data, caption in each.images)


def test_all_strategies_are_asked_for_the_same_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_stage, "STRATEGY_SETS", 3)
    store = mining_store(tmp_path)
    index_both(store)
    manifest = mine_demo(str(store.path), str(tmp_path / "pairs")).manifest
    assert [each["strategy"] for each in manifest["strategies"]] == list(STRATEGIES)
    assert {each["wanted"] for each in manifest["strategies"]} == {3}
