"""What all captions of a group say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mining.strategies.group_words import WordsItem, agreeing, read_words, shared_phrases, write_words
from mining.strategies.neighbors.work_arrays import write_array
from tests.mining.conftest import mining_context
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import mining_store

CAPTIONS = [
    "a brown dog on a beach", "a big brown dog runs on the beach", "two dogs", "a cat", "beach", "click to enlarge"
]  # fmt: skip


def test_a_word_before_a_noun_is_kept_where_all_captions_have_it() -> None:
    assert shared_phrases(["beach", "dog"], CAPTIONS[:2]) == ["beach", "brown dog"]
    assert shared_phrases(["dog"], CAPTIONS[:3]) == ["dog"]
    assert shared_phrases([], CAPTIONS) == []
    assert shared_phrases(["shirt"], ["a boy in a red shirt", "a red shirt on a chair"]) == ["red shirt"]


def test_members_agree_on_the_noun_that_most_share_with_the_anchor() -> None:
    nouns = [frozenset({"dog", "beach"}), frozenset({"beach"}), frozenset({"cat", "beach"}), frozenset({"dog"})]
    assert agreeing(nouns, [7, 8, 9, 10]) == [7, 8, 9]
    assert agreeing([frozenset(), frozenset({"dog"})], [7, 8]) == [7]


def test_with_all_captions_a_member_has_the_one_that_names_what_is_shared(tmp_path: Path) -> None:
    lists = [["a cat", "a brown dog"], ["two dogs", "a sunny day"], [], ["a dog in a hat", "a dog"]]
    store = mining_store(tmp_path, rows=4, caption=[each[0] if each else None for each in lists], captions=lists)
    ctx = mining_context(store, tmp_path, "groups", captions="all")
    write_array(ctx, "groups.npy", np.array([[3, 1, 0, 2]]))
    write_words(WordsItem(0, 0, 1), ctx)
    (found,) = read_words(ctx, WordsItem(0, 0, 1)).to_pylist()
    assert found["rows"] == [0, 1, 3]
    assert found["nouns"] == found["phrases"] == ["dog"]
    assert found["captions"] == ["a brown dog", "two dogs", "a dog in a hat"]


def test_members_that_share_no_noun_leave_a_group_unless_a_concept_holds_it(tmp_path: Path) -> None:
    store = mining_store(tmp_path, rows=6, caption=CAPTIONS, captions=[[each] for each in CAPTIONS])
    groups = np.array([[0, 1, 2, 3], [0, 1, 4, -1]])
    cases: tuple[tuple[str, dict[str, Any], list[list[int]] | None], ...] = (
        ("captions", {}, [[0, 1, 2], [0, 1, 4]]),
        ("concept", {"selection": write_test_selection(store, tmp_path / "selection", {"a": range(6)})}, None),
    )
    for name, choices, rows in cases:
        ctx = mining_context(store, tmp_path / name, "groups", **choices)
        write_array(ctx, "groups.npy", groups)
        item = WordsItem(0, 0, 2)
        assert write_words(item, ctx) == write_words(item, ctx) == 2
        found = read_words(ctx, item).to_pylist()
        assert [each["rows"] for each in found] == (rows or [[0, 1, 2, 3], [0, 1, 4]])
        assert found[1]["nouns"] == ["beach"]
        assert found[1]["reason"] == "all captions name beach"
        if name == "concept":
            assert (found[0]["nouns"], found[0]["reason"]) == ([], "their captions share no noun")
