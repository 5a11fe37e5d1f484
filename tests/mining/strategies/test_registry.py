"""Strategies by name, alone and mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from index.errors import BadInput
from mining.strategies.context import MiningConfig
from mining.strategies.registry import check_strategies, parse_mix
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import mining_store


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
