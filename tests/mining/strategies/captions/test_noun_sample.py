"""Pairs of sampled captions: their shared nouns are those of a count by hand, and their levels are counted."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mining.strategies.captions import noun_sample
from mining.strategies.captions.noun_sample import Sampled, sample_pairs
from mining.strategies.captions.noun_sets import make_noun_sets
from mining.strategies.context import MiningContext, in_process
from mining.text.nouns import noun_extractor
from tests.mining.worlds import captions_context, skewed_captions

ROWS = 200


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory) -> MiningContext:
    ctx = captions_context(tmp_path_factory.mktemp("sample"), skewed_captions(ROWS))
    make_noun_sets(ctx, in_process(ctx))
    return ctx


def sampled(ctx: MiningContext, folder: Path, keep: int) -> Sampled:
    """A sample whose files are in `folder`, over the noun sets of `ctx`."""
    (folder / "nouns").symlink_to(Path(ctx.folder) / "nouns")
    own = MiningContext(ctx.config, ctx.strategy, ctx.wanted, str(folder))
    return sample_pairs(own, in_process(own), make_noun_sets(own, in_process(own)), keep)


def counted_by_hand(rows: range) -> dict[tuple[int, int], int]:
    nouns = [set(found) for found in noun_extractor("lexicon")(skewed_captions(ROWS))]
    return {(a, b): len(nouns[a] & nouns[b]) for a, b in combinations(rows, 2)}


def test_all_pairs_of_all_captions_are_counted_with_the_nouns_they_share(ctx: MiningContext, tmp_path: Path) -> None:
    found = sampled(ctx, tmp_path, keep=1_000_000)
    expected = counted_by_hand(range(ROWS))
    assert {(a, b): shared for a, b, shared in found.pairs.tolist()} == expected
    counts = Counter(expected.values())
    assert found.counts.tolist() == [counts[level] for level in range(len(found.counts))]
    assert (found.captions, found.whole) == (ROWS, True)
    assert found.largest_task <= ROWS // 8


def test_at_most_keep_pairs_of_each_level_are_kept_and_all_are_counted(ctx: MiningContext, tmp_path: Path) -> None:
    found = sampled(ctx, tmp_path, keep=7)
    expected = counted_by_hand(range(ROWS))
    counts = Counter(expected.values())
    kept = Counter(found.pairs[:, 2].tolist())
    assert kept == {level: min(count, 7) for level, count in counts.items()}
    assert int(found.counts.sum()) == ROWS * (ROWS - 1) // 2


def test_a_smaller_sample_is_a_part_of_the_captions(
    ctx: MiningContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noun_sample, "SAMPLE", 50)
    found = sampled(ctx, tmp_path, keep=1_000_000)
    assert (found.captions, found.whole, len(found.pairs)) == (50, False, 50 * 49 // 2)
    expected = counted_by_hand(range(ROWS))
    assert all(expected[a, b] == shared for a, b, shared in found.pairs.tolist())


def test_a_text_on_several_images_is_sampled_once(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, ["a dog and a cat"] * 30 + ["a cat and a dog"] * 30)
    sets = make_noun_sets(ctx, in_process(ctx))
    found = sample_pairs(ctx, in_process(ctx), sets, 10)
    assert found.captions == 2
    assert found.pairs[:, 2].tolist() == [2]
    assert np.flatnonzero(found.counts).tolist() == [2]
