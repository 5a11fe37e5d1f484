"""Noun sets on disk: what they hold, how they are cut into items, and how many nouns two of them share."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from index.store.embedding_store import EmbeddingStore
from mining.strategies.captions import noun_sets
from mining.strategies.captions.noun_sets import NounSets, make_noun_sets
from mining.strategies.context import in_process
from tests.folders import file_times
from tests.mining.worlds import captions_context
from tests.retrieval.stores import forget

CAPTIONS = ["a dog and a cat", "a cat", "a dog, a cat and a boat", "A dog and  a CAT", "a harp", None] + ["a dog"] * 10


def made(folder: Path) -> NounSets:
    ctx = captions_context(folder, CAPTIONS)
    return make_noun_sets(ctx, in_process(ctx))


def names(sets: NounSets, positions: list[int]) -> list[list[str]]:
    offsets, ranks = sets.ranks(np.array(positions))
    nouns = sets.nouns.to_pylist()
    return [[nouns[rank] for rank in ranks[start:stop]] for start, stop in pairwise(offsets)]


def test_sets_hold_the_nouns_of_several_captions_the_rarest_first(tmp_path: Path) -> None:
    sets = made(tmp_path)
    assert sets.nouns.to_pylist() == ["cat", "dog"]  # boat and harp are in one caption each
    assert sets.noun_rows.tolist() == [4, 13]
    assert names(sets, [0, 1, 2, 4, 5, 6]) == [["cat", "dog"], ["cat"], ["cat", "dog"], [], [], ["dog"]]
    assert sets.take("rows", np.arange(16)).tolist() == list(range(16))


def test_the_same_text_has_one_hash_whatever_its_case_and_spaces(tmp_path: Path) -> None:
    hashes = made(tmp_path).take("captions", np.arange(16))
    assert hashes[0] == hashes[3]
    assert len(set(hashes.tolist())) == 6


def test_signatures_have_a_bit_for_each_noun(tmp_path: Path) -> None:
    bits = made(tmp_path).take("bits", np.arange(16)).astype(np.uint64)
    assert np.bitwise_count(bits).sum(axis=1)[:6].tolist() == [2, 1, 2, 2, 0, 0]
    assert (bits[0] == bits[2]).all()
    assert (bits[1] != bits[6]).any()


def test_forgotten_rows_have_no_position_and_finished_items_are_kept(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, CAPTIONS)
    forget(EmbeddingStore.open(tmp_path / "store"), [1])
    sets = make_noun_sets(ctx, in_process(ctx))
    assert sets.count == 15
    assert sets.take("rows", np.arange(3)).tolist() == [0, 2, 3]
    written = file_times(tmp_path / "work")
    make_noun_sets(ctx, in_process(ctx))
    again = file_times(tmp_path / "work")
    assert {name for name in written if again[name] != written[name]} == {"nouns/starts.npy"}


def test_with_all_captions_each_noun_is_marked_with_the_captions_that_name_it(tmp_path: Path) -> None:
    lists = [["a dog", "a cat and a dog", "nothing"], ["a cat"], ["a dog"]]
    ctx = captions_context(tmp_path, [each[0] for each in lists], lists=lists, which="all")
    sets = make_noun_sets(ctx, in_process(ctx))
    _, ranks = sets.ranks(np.arange(3))
    named = [sets.nouns.to_pylist()[rank] for rank in ranks]
    assert list(zip(named, sets.said(np.arange(3)).tolist(), strict=True)) == [
        ("cat", 0b10), ("dog", 0b11), ("cat", 0b1), ("dog", 0b1),
    ]  # fmt: skip


def test_a_sample_parses_about_as_many_rows_as_it_is_told_and_has_its_own_files(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, ["a dog and a cat"] * 300)
    sets = make_noun_sets(ctx, in_process(ctx), most=32)
    assert 0 < sets.count <= 300
    assert sets.folder != make_noun_sets(ctx, in_process(ctx), most=300).folder
    assert make_noun_sets(ctx, in_process(ctx)).count == 300


def test_the_share_of_different_texts_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captions = [f"a dog number {row // 4}" for row in range(2_000)]
    ctx = captions_context(tmp_path, captions)
    sets = make_noun_sets(ctx, in_process(ctx))
    assert sets.different_share() == 0.25
    monkeypatch.setattr(noun_sets, "SAMPLED_TEXTS", 400)
    assert sets.different_share() == 0.25  # of every sampled text all four


def test_the_parts_of_compounds_stand_in_the_vocabulary(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, ["a tennis ball", "a ball and a tennis ball", "a dog"])
    sets = make_noun_sets(ctx, in_process(ctx))
    assert sets.nouns.to_pylist() == ["ball", "tennis ball"]
    assert (sets.parts.offsets.tolist(), sets.parts.ranks.tolist()) == ([0, 0, 1], [0])
