"""Strategies by name, alone and mixed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import MiningConfig
from mining.strategies.registry import HIGHEST_LEVEL, STRATEGIES, check_strategies, parse_mix
from tests.mining.conftest import propose
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import mining_store
from tests.retrieval.stores import make_store, unit


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("similar", {"similar": 1.0}),
        ("similar:0.5,random:0.5", {"similar": 0.5, "random": 0.5}),
        ("similar:3, random:1", {"similar": 0.75, "random": 0.25}),
        ("similar,random,identity:2", {"similar": 0.25, "random": 0.25, "identity": 0.5}),
    ],
)
def test_shares_add_up_to_one(text: str, shares: dict[str, float]) -> None:
    assert dict(parse_mix(text)) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "similiar",
            "unknown strategy 'similiar': choose from similar, diverse, identity, overlap, contrast, attribute",
        ),
        ("similar,similar", "names similar twice"),
        ("similar:zero", "a share is a number above 0"),
        ("similar:0", "a share is a number above 0"),
        ("similar:nan", "a share is a number above 0"),
        ("random:1e308,similar:1e308", "a share is a number above 0 and up to 1,000,000"),
        ("", "unknown strategy ''"),
    ],
)
def test_a_mix_that_cannot_be_read_is_one_line(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse_mix(text)


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


def test_diverse_and_groups_over_concepts_need_no_captions(tmp_path: Path) -> None:
    store = mining_store(tmp_path, rows=12, text=False)
    selection = write_test_selection(store, tmp_path / "selection", {"a": range(12)})
    mix = (("diverse", 0.5), ("groups", 0.5))
    check_strategies(MiningConfig(str(store.path), "out", mix, selection=selection), store)
    with pytest.raises(BadInput, match=r"groups needs text embeddings .*, give it the concepts of a --selection"):
        check_strategies(MiningConfig(str(store.path), "out", (("groups", 1.0),)), store)


@pytest.mark.parametrize(
    ("mix", "levels", "message"),
    [
        ("similar", (9,), r"similar has the levels 1-4 \(5 with --ceiling\), and --levels 9 has none of them"),
        ("identity", (0, 5), "identity has the levels 1-4, and --levels 0,5 has none of them"),
        ("overlap", (0,), "overlap has levels from 1 on, the number of nouns, and not 0"),
        ("overlap,groups", (6,), "groups has the levels 1-4, and --levels 6 has none of them"),
    ],
)
def test_levels_that_a_strategy_does_not_have_are_refused_with_those_it_has(
    world: EmbeddingStore, mix: str, levels: tuple[int, ...], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        check_strategies(MiningConfig(str(world.path), "out", parse_mix(mix), levels=levels, entity="who"), world)


def test_levels_that_some_strategy_has_are_taken(world: EmbeddingStore) -> None:
    for mix, levels, ceiling in (("similar", (5,), 1.0), ("similar", (4, 9), None), ("overlap,random", (40,), None)):
        config = MiningConfig(str(world.path), "out", parse_mix(mix), levels=levels, ceiling=ceiling)
        check_strategies(config, world)


def _tiny(folder: Path, kind: str) -> EmbeddingStore:
    """Stores that leave nearly nothing to measure: few rows, one individual, and one picture again and again."""
    if kind == "few rows":
        return mining_store(folder, rows=5)
    rows, spread = 2 if kind == "one pair" else 12, 0.0 if kind == "one picture" else 0.05
    vectors = unit(np.ones((rows, 16)) + spread * np.random.default_rng(0).normal(size=(rows, 16)))
    if kind == "one pair":  # its cosine is rounded up, so that it is below the median of all
        vectors = unit(np.array([[1, 0], [0.4997, np.sqrt(1 - 0.4997**2)]]))
    captions = [f"a brown dog on a {thing}" for thing in ("beach", "boat", "street") * 4][:rows]
    extra = [json.dumps({"truth": {"objects": [{"entity": "ann"}]}})] * rows
    lists = [[caption] for caption in captions]
    return make_store(folder, vectors, vectors, images=[b""] * rows, caption=captions, captions=lists, extra=extra)


@pytest.mark.parametrize("kind", ["few rows", "one pair", "one individual", "one picture", "world"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_difficulty_is_from_0_to_1_levels_are_those_named_and_counts_add_up(
    world: EmbeddingStore, tmp_path: Path, strategy: str, kind: str
) -> None:
    store = world if kind == "world" else _tiny(tmp_path, kind)
    concepts = {"a dog": range(0, store.rows, 2), "a boat": range(store.rows)}
    selection = write_test_selection(store, tmp_path / "selection", concepts)
    cases: list[dict[str, Any]] = [{"near_duplicates": limit} for limit in (0.5, 0.94, 1.01)]
    cases += [{"selection": selection}]
    cases += [{"set_size": 3}] if strategy == "identity" else []
    for number, choices in enumerate(cases):
        asked = {"entity": "truth.objects.entity", "group_size": (2, 3), **choices}
        found = propose(store, tmp_path / str(number), strategy, 10, **asked)
        difficulty = found.table["difficulty"]
        assert difficulty.null_count == 0
        assert all(0 <= each <= 1 for each in difficulty.to_pylist())
        if strategy in HIGHEST_LEVEL:
            assert set(found.table["level"].to_pylist()) <= set(range(1, HIGHEST_LEVEL[strategy] + 1))
        assert found.considered == found.table.num_rows + sum(found.dropped.values())
