"""Pairs of rows whose captions or metadata differ in one fact, as a map over pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput
from mining.strategies.captions import fact_differences
from mining.strategies.captions.fact_differences import check_facts, find_differences
from mining.strategies.context import MiningConfig, MiningContext, in_process
from mining.strategies.minable import minable_rows
from mining.text.axes import AXES
from tests.folders import file_times
from tests.mining.worlds import captions_context
from tests.retrieval.stores import make_store, random_unit

CAPTIONS = ["a brown dog runs", "a black dog runs", None, "a dog", "two dogs run, " * 60]
PAIRS = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 3]])


def test_each_pair_with_one_difference_is_found_whatever_the_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fact_differences, "ITEM_PAIRS", 2)
    ctx = captions_context(tmp_path, CAPTIONS)
    found = find_differences(ctx, in_process(ctx), PAIRS, AXES)
    assert found["place"].to_pylist() == [0]
    assert found["texts"].to_pylist() == [["a brown dog runs", "a black dog runs"]]
    written = file_times(ctx.folder)
    assert find_differences(ctx, in_process(ctx), PAIRS, AXES) == found
    after = file_times(ctx.folder)
    assert {name: after[name] for name in after if name.endswith(".parquet")} == {
        name: written[name] for name in written if name.endswith(".parquet")
    }


def test_of_all_captions_those_that_leave_the_least_unstated_are_taken(tmp_path: Path) -> None:
    lists = [["a brown dog", "a brown dog runs on the beach"], ["a black dog runs on the beach", "something else"]]
    ctx = captions_context(tmp_path, [each[0] for each in lists], lists=lists, which="all")
    found = find_differences(ctx, in_process(ctx), np.array([[0, 1]]), AXES).to_pylist()
    assert found[0]["texts"] == ["a brown dog runs on the beach", "a black dog runs on the beach"]


def test_metadata_fields_replace_the_captions(tmp_path: Path) -> None:
    kinds = [(1, "red"), (2, "red"), (3, "x")]
    cups = [{"item": {"kind": "cup", "size": size, "color": color}} for size, color in kinds]
    ctx = made(tmp_path, extra=[json.dumps(cup) for cup in cups], facts=("item",))
    found = find_differences(ctx, in_process(ctx), np.array([[0, 1], [0, 2]]), ()).to_pylist()
    assert [(one["place"], one["axis"], one["degree"], one["amount"], one["texts"]) for one in found] == [
        (0, "size", "bigger", 1.0, None)
    ]


def test_a_metadata_column_is_a_field_too(tmp_path: Path) -> None:
    ctx = made(tmp_path, width=[24, 25, 24], facts=("width", "height", "shard"))
    found = find_differences(ctx, in_process(ctx), np.array([[0, 1], [0, 2]]), ()).to_pylist()
    assert [(one["place"], one["axis"], one["amount"]) for one in found] == [(0, "width", 1.0)]


def test_a_field_that_is_nowhere_is_refused_with_those_that_are_there(tmp_path: Path) -> None:
    ctx = made(tmp_path, extra=[json.dumps({"item": {"size": 1}})] * 3, facts=("item.size", "item.sice"))
    with pytest.raises(BadInput, match=r"--facts item.sice: none of 3 rows has a value there; .*item.size"):
        check_facts(ctx, minable_rows(ctx, ctx.open_store()))


def made(folder: Path, *, facts: tuple[str, ...], **columns: Any) -> MiningContext:
    """A store of three cups with these metadata columns."""
    make_store(folder, random_unit(3), caption=["a cup"] * 3, **columns)
    config = MiningConfig(str(folder / "store"), str(folder / "out"), (("attribute", 1.0),), facts=facts)
    return MiningContext(config, "attribute", 10, str(folder / "work"))
