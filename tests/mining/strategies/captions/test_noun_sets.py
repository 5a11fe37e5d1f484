"""Noun sets on disk: what they hold, how they are cut into items, and how many nouns two of them share."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from index.store.embedding_store import EmbeddingStore
from mining.strategies.captions.noun_sets import (
    LARGEST_SHARE,
    MOST_ITEMS,
    NounSets,
    captions_of,
    make_noun_sets,
    pad_sets,
    row_slices,
    shared_counts,
    shared_mask,
)
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


def test_rows_are_cut_into_items_of_at_most_an_eighth_and_not_into_too_many() -> None:
    for count in (1, 7, 100, 5_000_000, 400_000_000):
        slices = row_slices(count)
        assert [each.start for each in slices[1:]] == [each.stop for each in slices[:-1]]
        assert (slices[0].start, slices[-1].stop) == (0, count)
        assert len(slices) <= MOST_ITEMS
        assert slices[0].stop <= max(1, count // LARGEST_SHARE)


def test_the_texts_of_a_row_are_its_caption_or_all_distinct_ones() -> None:
    table = pa.table({"caption": ["a", None, "b"], "captions": [["a", "c", "a"], ["d"], None]})
    assert captions_of(table, "caption") == [["a"], [], ["b"]]
    assert captions_of(table, "all") == [["a", "c"], ["d"], ["b"]]


def test_shared_nouns_are_counted_and_marked() -> None:
    padded = pad_sets(np.array([0, 3, 3, 5]), np.array([1, 4, 9, 4, 9], np.int32))
    assert padded.tolist() == [[1, 4, 9], [-1, -1, -1], [4, 9, -1]]
    one, other = np.array([0, 0, 1]), np.array([2, 1, 1])
    assert shared_counts(padded, one, other).tolist() == [2, 0, 0]
    assert shared_mask(padded, one, other)[0].tolist() == [False, True, True]
