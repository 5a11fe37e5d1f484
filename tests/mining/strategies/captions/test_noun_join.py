"""The join finds what comparing all with all finds, in tasks of bounded size, however skewed the nouns are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mining.strategies.captions import noun_join
from mining.strategies.captions.noun_join import Join, Joined, join_nouns
from mining.strategies.captions.noun_sets import NounSets, make_noun_sets
from mining.strategies.context import MiningContext, in_process
from mining.text.nouns import noun_extractor
from tests.mining.worlds import WORDS, captions_context, skewed_captions

ROWS = 1_200


@pytest.fixture(scope="module")
def skewed(tmp_path_factory: pytest.TempPathFactory) -> MiningContext:
    ctx = captions_context(tmp_path_factory.mktemp("skewed"), skewed_captions(ROWS))
    make_noun_sets(ctx, in_process(ctx))
    return ctx


def brute_force(captions: Sequence[str], least: int) -> npt.NDArray[np.int64]:
    said = [caption.split(": ")[1].split(" and ") for caption in captions]
    matrix = np.array([[f"a {word}" in each for word in WORDS] for each in said], np.int64)
    shared = np.triu(matrix @ matrix.T, 1)
    one, other = np.nonzero(shared >= least)
    return np.stack([one, other, shared[one, other]], axis=1)


def run(
    ctx: MiningContext,
    least: int,
    name: str | None = None,
    map_items: Any = None,
    *,
    part: float = 1.0,
    groups: int = 1,
    most: int = 10**9,
) -> Joined:
    sets = NounSets(f"{ctx.folder}/nouns")
    wanted = Join(name or f"{least:02d}", least, part, groups, most)
    return join_nouns(ctx, map_items or in_process(ctx), sets, wanted)


@pytest.mark.parametrize("least", [4, 5])
def test_the_join_finds_all_pairs_and_the_nouns_they_share(skewed: MiningContext, least: int) -> None:
    joined = run(skewed, least)
    expected = brute_force(skewed_captions(ROWS), least)
    assert len(expected) > 50
    assert np.array_equal(joined.pairs, expected)
    assert joined.lost == joined.surplus == 0


def test_the_join_counts_a_compound_once(tmp_path: Path) -> None:
    things = ["a tennis racket", "a racket", "a tennis ball", "a soccer ball", "a ball"]
    rng = np.random.default_rng(0)
    captions = [
        f"{caption} and {' and '.join(rng.permutation(things)[: rng.integers(1, 4)])}"
        for caption in skewed_captions(600)
    ]
    ctx = captions_context(tmp_path, captions)
    sets = make_noun_sets(ctx, in_process(ctx))
    nouns = [set(found) for found in noun_extractor("lexicon")(captions)]

    def shared(one: int, other: int) -> int:
        both = nouns[one] & nouns[other]
        return len([noun for noun in both if not any(f" {noun}" in whole for whole in both)])

    expected = [
        (one, other, shared(one, other)) for one, other in combinations(range(600), 2) if shared(one, other) >= 5
    ]
    joined = join_nouns(ctx, in_process(ctx), sets, Join("05", 5, 1.0, 1, 10**9))
    assert [tuple(pair) for pair in joined.pairs.tolist()] == expected
    assert len(expected) > 50
    assert joined.lost == 0


def test_in_groups_one_pair_in_so_many_is_found_and_all_captions_take_part(skewed: MiningContext) -> None:
    every, some = run(skewed, 4).pairs, run(skewed, 4, "groups", groups=3).pairs
    assert {tuple(pair) for pair in some.tolist()} <= {tuple(pair) for pair in every.tolist()}
    assert len(some) == pytest.approx(len(every) / 3, rel=0.15)
    # Captions in the same group are those that are paired: the found pairs are all pairs within the groups.
    group = list(range(ROWS))
    for one, other, _ in some.tolist():
        group = (
            [group[one] if each == group[other] else each for each in group] if group[one] != group[other] else group
        )
    within = sum(group[one] == group[other] for one, other, _ in every.tolist())
    assert within == len(some)
    assert len(np.unique(some[:, :2])) > 0.7 * len(np.unique(every[:, :2]))


def test_of_a_part_of_the_captions_all_pairs_are_found(skewed: MiningContext) -> None:
    every, some = run(skewed, 4).pairs, run(skewed, 4, "part", part=0.5).pairs
    taken = np.unique(some[:, :2])
    expected = every[np.isin(every[:, :2], taken).all(axis=1)]
    assert np.array_equal(some, expected)
    assert len(some) == pytest.approx(len(every) / 4, rel=0.35)


def test_every_comparison_is_accounted_for(skewed: MiningContext) -> None:
    joined = run(skewed, 3, "few", most=50)
    assert np.bincount(joined.pairs[:, 2])[3:5].tolist() == [50, 50]
    assert joined.compared == len(joined.pairs) + joined.other + joined.repeated + joined.surplus
    assert joined.surplus > 0


def test_rare_levels_cost_a_small_part_of_all_pairs(skewed: MiningContext) -> None:
    assert run(skewed, 5).compared < ROWS * (ROWS - 1) // 2 // 4


@pytest.mark.parametrize("least", [1, 2, 5])
def test_no_task_holds_over_an_eighth_of_the_captions_with_man_in_half_of_them(
    skewed: MiningContext, least: int
) -> None:
    captions = skewed_captions(ROWS)
    assert sum("a man" in caption for caption in captions) > ROWS / 4
    joined = run(skewed, least)
    assert 0 < joined.largest_task <= ROWS // 8
    # Half of all captions would be one list: such are sampled, and the loss is known.
    assert (joined.lost > 0) == (least < 3)


def test_what_long_lists_lose_is_counted(skewed: MiningContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noun_join, "LONGEST_LIST", 8)
    joined = run(skewed, 3, "short_lists")
    assert joined.lost > 0
    assert 0 < len(joined.pairs) < len(brute_force(skewed_captions(ROWS), 3))


def test_the_order_of_work_changes_nothing_and_a_killed_join_goes_on(tmp_path: Path, skewed: MiningContext) -> None:
    def backwards(ctx: MiningContext) -> Callable[..., list[Any]]:
        def map_items(function: Callable[..., Any], items: Sequence[Any], label: str) -> list[Any]:
            return [function(item, ctx) for item in items[::-1]][::-1]

        return map_items

    def dying(ctx: MiningContext, after: int) -> Callable[..., list[Any]]:
        left = [after]

        def map_items(function: Callable[..., Any], items: Sequence[Any], label: str) -> list[Any]:
            done = []
            for item in items:
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                done.append(function(item, ctx))
            return done

        return map_items

    def make_and_run(ctx: MiningContext, map_items: Callable[..., list[Any]]) -> Joined:
        make_noun_sets(ctx, map_items)
        return run(ctx, 5, map_items=map_items)

    expected = run(skewed, 5).pairs
    ctx = captions_context(tmp_path, skewed_captions(ROWS))
    for after in (3, 10, 30):
        with pytest.raises(KeyboardInterrupt):
            make_and_run(ctx, dying(ctx, after))
    assert np.array_equal(make_and_run(ctx, backwards(ctx)).pairs, expected)
