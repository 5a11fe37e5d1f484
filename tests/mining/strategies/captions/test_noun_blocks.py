"""Random pairs of captions: their shared nouns are those of a count by hand, and every caption has as many partners."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mining.strategies.captions import noun_blocks
from mining.strategies.captions.noun_blocks import Compared, compare_blocks
from mining.strategies.captions.noun_sets import make_noun_sets
from mining.strategies.context import MiningContext, in_process
from mining.text.nouns import noun_extractor
from tests.mining.worlds import captions_context, skewed_captions

ROWS = 240
CAPTIONS = [
    f"{caption} and a tennis racket" if row % 3 == 0 else f"{caption} with a racket" if row % 5 == 0 else caption
    for row, caption in enumerate(skewed_captions(ROWS))
]
ALL = 10**9


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> MiningContext:
    return captions_context(tmp_path_factory.mktemp("blocks"), CAPTIONS)


def compared(ctx: MiningContext, folder: Path, captions: int = ALL, pairs: int = ALL, keep: int = 10**6) -> Compared:
    own = dataclasses.replace(ctx, folder=str(folder / "work"))
    map_items = in_process(own)
    return compare_blocks(own, map_items, make_noun_sets(own, map_items), captions, pairs, keep)


def counted_by_hand(captions: Sequence[str]) -> dict[tuple[int, int], int]:
    nouns = [set(found) for found in noun_extractor("lexicon")(captions)]

    def level(shared: set[str]) -> int:
        return len(shared - {"racket"} if "tennis racket" in shared else shared)

    return {(a, b): level(nouns[a] & nouns[b]) for a, b in combinations(range(len(captions)), 2)}


def test_all_pairs_are_counted_with_the_nouns_they_share(ctx: MiningContext, tmp_path: Path) -> None:
    found = compared(ctx, tmp_path)
    expected = counted_by_hand(CAPTIONS)
    assert {(a, b): shared for a, b, shared in found.pairs.tolist()} == {k: n for k, n in expected.items() if n}
    counts = Counter(expected.values())
    assert found.counts.tolist() == [counts[level] for level in range(len(found.counts))]
    assert (found.captions, found.whole) == (ROWS, True)
    assert found.largest_task <= ROWS // 8


def test_nouns_without_a_bit_of_their_own_are_counted_too(tmp_path: Path) -> None:
    """More nouns than signatures have bits: the rarest are compared as lists."""
    syllables = ["ba", "do", "fi", "gu", "ka", "lo", "mi", "nu"]
    words = [f"z{a}{b}{c}k" for a in syllables for b in syllables for c in syllables][:400]
    rng = np.random.default_rng(0)
    captions = [" and ".join(f"a {word}" for word in rng.choice(words, 12, replace=False)) for _ in range(120)]
    ctx = captions_context(tmp_path, captions)
    sets = make_noun_sets(ctx, in_process(ctx))
    assert len(sets.nouns) > 300
    found = compare_blocks(ctx, in_process(ctx), sets, ALL, ALL, 10**6)
    nouns = [set(each) for each in noun_extractor("lexicon")(captions)]
    expected = {(a, b): len(nouns[a] & nouns[b]) for a, b in combinations(range(120), 2)}
    assert {(a, b): n for a, b, n in found.pairs.tolist()} == {pair: n for pair, n in expected.items() if n}


def test_at_most_keep_pairs_of_each_level_are_kept_and_all_are_counted(ctx: MiningContext, tmp_path: Path) -> None:
    found = compared(ctx, tmp_path, keep=7)
    counts = Counter(counted_by_hand(CAPTIONS).values())
    assert Counter(found.pairs[:, 2].tolist()) == {level: min(count, 7) for level, count in counts.items() if level}
    assert int(found.counts.sum()) == ROWS * (ROWS - 1) // 2


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_in_each_round_every_caption_meets_as_many_others(
    ctx: MiningContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    monkeypatch.setattr(noun_blocks, "BLOCK", 12)
    found = compared(ctx, tmp_path, pairs=ROWS * 12 * rounds)
    assert not found.whole
    assert int(found.counts.sum()) == ROWS * 12 * rounds
    expected = counted_by_hand(CAPTIONS)
    assert all(expected[a, b] == shared for a, b, shared in found.pairs.tolist())
    assert len(np.unique(found.pairs[:, :2])) >= ROWS - 2  # nearly every caption shares a noun with someone
    assert len(np.unique(found.pairs[:, :2], axis=0)) == len(found.pairs)


def test_fewer_captions_are_a_random_part(ctx: MiningContext, tmp_path: Path) -> None:
    found = compared(ctx, tmp_path, captions=60, pairs=1_500)
    assert (found.captions, found.whole) == (60, False)
    expected = counted_by_hand(CAPTIONS)
    assert all(expected[a, b] == shared for a, b, shared in found.pairs.tolist())


def test_a_text_on_several_images_is_compared_once(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, ["a dog and a cat"] * 30 + ["a cat and a dog"] * 30)
    sets = make_noun_sets(ctx, in_process(ctx))
    found = compare_blocks(ctx, in_process(ctx), sets, ALL, ALL, 10)
    assert (found.captions, found.repeated) == (2, 58)
    assert found.pairs[:, 2].tolist() == [2]
    assert np.flatnonzero(found.counts).tolist() == [2]


def test_the_order_of_work_changes_nothing(ctx: MiningContext, tmp_path: Path) -> None:
    def backwards(own: MiningContext) -> Callable[..., list[Any]]:
        def map_items(function: Callable[..., Any], items: Sequence[Any], label: str) -> list[Any]:
            return [function(item, own) for item in items[::-1]][::-1]

        return map_items

    expected = compared(ctx, tmp_path / "a", pairs=ROWS * 30, keep=9)
    own = dataclasses.replace(ctx, folder=str(tmp_path / "b"))
    map_items = backwards(own)
    found = compare_blocks(own, map_items, make_noun_sets(own, map_items), ALL, ROWS * 30, 9)
    assert np.array_equal(found.pairs, expected.pairs)
    assert found.counts.tolist() == expected.counts.tolist()
