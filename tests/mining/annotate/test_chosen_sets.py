"""Which sets are annotated."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from mining.annotate.chosen_sets import SetChoice, choose_sets, parse_shard, shard_name
from mining.sets.image_sets import ImageSets
from tests.mining.made_sets import annotation, many_pairs, write_sets


@pytest.fixture
def pairs(tmp_path: Path) -> ImageSets:
    rows = many_pairs(12, 40)
    return write_sets(
        tmp_path,
        rows,
        strategy=["similar", "overlap"] * 20,
        split=["train"] * 30 + ["held-out"] * 10,
    )


def chosen(pairs: ImageSets, seed: int = 0, **choice: Any) -> list[int]:
    return [int(number) for number in choose_sets(ImageSets.open(pairs.path), SetChoice(**choice), seed).numbers]


def test_filters(pairs: ImageSets) -> None:
    assert chosen(pairs) == list(range(40))
    assert chosen(pairs, strategy=("similar",), split=("held-out",)) == [30, 32, 34, 36, 38]


def test_a_limit_is_drawn_by_the_seed_and_a_greater_one_adds_sets(pairs: ImageSets) -> None:
    few, more = chosen(pairs, limit=5), chosen(pairs, limit=15)
    assert len(few) == 5
    assert len(more) == 15
    assert set(few) < set(more)
    assert few == sorted(few) != chosen(pairs, limit=5, seed=1)
    assert chosen(pairs, limit=100) == list(range(40))


def test_shards_share_the_folder_whatever_the_filters(pairs: ImageSets) -> None:
    shards = [chosen(pairs, shard=(place, 3)) for place in (1, 2, 3)]
    assert sorted(chain.from_iterable(shards)) == list(range(40))
    assert min(map(len, shards)) > 4
    similar = [chosen(pairs, shard=(place, 3), strategy=("similar",)) for place in (1, 2, 3)]
    assert all(set(some) <= set(all_of) for some, all_of in zip(similar, shards, strict=True))


def test_sets_with_and_without_annotations_of_a_kind(pairs: ImageSets) -> None:
    assert chosen(pairs, not_annotated="comparison") == list(range(40))
    pairs.add_annotations([annotation(pairs[number].set_id, "text") for number in (3, 7)], "part")
    assert chosen(pairs, annotated="comparison") == [3, 7]
    assert chosen(pairs, not_annotated="comparison") == [number for number in range(40) if number not in (3, 7)]
    with pytest.raises(BadInput, match="has no annotations of kind 'story'"):
        chosen(pairs, annotated="story")


def test_sets_that_were_rejected_on_the_page_are_left_out(pairs: ImageSets) -> None:
    said = {"members": list(pairs[4].refs), "strategy": pairs[4].strategy, "decision": "reject", "time": "2026"}
    (Path(pairs.path) / "decisions.jsonl").write_text(json.dumps(said) + "\n")
    assert 4 not in chosen(pairs)


def test_what_leaves_no_set_is_one_line(pairs: ImageSets) -> None:
    with pytest.raises(BadInput, match="no set is left to annotate; it has 40 sets before the filters"):
        chosen(pairs, strategy=("similar",), split=("held-out",), shard=(1, 10_000))
    with pytest.raises(BadInput, match="--limit must be at least 1"):
        SetChoice(limit=0)
    with pytest.raises(BadInput, match="as 2/8, not 3/2"):
        SetChoice(shard=(3, 2))


def test_shards_are_read_and_named() -> None:
    assert parse_shard("2/8") == (2, 8)
    for text in ("2", "a/8", "-1/8", "2/", "2/8/3"):
        with pytest.raises(BadInput, match="as 2/8"):
            parse_shard(text)
    assert shard_name("name", (2, 8)) == "name-2-of-8"
    assert shard_name("name", None) == "name"
