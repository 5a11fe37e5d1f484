"""The table of candidates: written in parts, in the order of the pairs, with the captions that name the nouns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mining.strategies.captions import noun_reasons
from mining.strategies.captions.noun_reasons import difficulty_of, explain_pairs, fewest, naming_texts
from mining.strategies.captions.noun_sets import make_noun_sets
from mining.strategies.context import CANDIDATES_SCHEMA, in_process
from tests.mining.worlds import captions_context


def test_difficulty_rises_with_the_shared_nouns_up_to_nine() -> None:
    levels = np.arange(1, 13)
    found = difficulty_of(levels)
    assert (np.diff(found[:9]) > 0).all()
    assert (found[8:] == 1).all()
    assert 0 < found[0] < 0.2


@pytest.mark.parametrize("at_once", [2, 100])
def test_parts_make_one_table_in_the_order_of_the_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(noun_reasons, "ITEM_PAIRS", at_once)
    ctx = captions_context(tmp_path, ["a dog", "a cat", "a dog and a cat", "a cat and a dog and a hat", "the hat"])
    sets = make_noun_sets(ctx, in_process(ctx))
    pairs = np.array([[2, 3, 2], [0, 2, 1], [3, 4, 1]])
    table = explain_pairs(ctx, in_process(ctx), sets, pairs)
    assert table.schema == CANDIDATES_SCHEMA
    assert table["rows"].to_pylist() == [[2, 3], [0, 2], [3, 4]]
    assert [sorted(each) for each in table["shared_nouns"].to_pylist()] == [["cat", "dog"], ["dog"], ["hat"]]
    assert table["reasons"].to_pylist()[1:] == [["share 1 noun: dog"], ["share 1 noun: hat"]]


def test_no_pairs_make_an_empty_table(tmp_path: Path) -> None:
    ctx = captions_context(tmp_path, ["a dog", "a cat"])
    sets = make_noun_sets(ctx, in_process(ctx))
    assert explain_pairs(ctx, in_process(ctx), sets, np.empty((0, 3), np.int64)).num_rows == 0


def test_the_fewest_captions_that_name_all_nouns_are_chosen() -> None:
    assert fewest([0b001, 0b011, 0b110], 3) == [0, 1]  # caption 0 has two of them, caption 1 the third
    assert fewest([0b101, 0b100], 3) == [2]
    assert fewest([], 3) == []


def test_captions_are_joined_as_sentences_and_a_single_one_is_left_as_it_is() -> None:
    ranks, said = np.array([3, 5, 8], np.int32), np.array([0b01, 0b10, 0b11], np.uint64)
    texts = ["a dog", "A cat sits ."]
    assert naming_texts(np.array([8], np.int32), ranks, said, texts) == "a dog"
    assert naming_texts(np.array([3, 5], np.int32), ranks, said, texts) == "a dog. A cat sits ."
