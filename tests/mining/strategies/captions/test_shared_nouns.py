"""What two sets of nouns share: counted noun by noun, with the words of a shared compound left out."""

from __future__ import annotations

import numpy as np

from mining.strategies.captions.shared_nouns import compound_parts, pad_sets, ranges, shared_mask, without_parts


def shared(nouns: list[str], one: set[str], other: set[str]) -> set[str]:
    sets = [[place for place, noun in enumerate(nouns) if noun in each] for each in (one, other)]
    padded = pad_sets(np.cumsum([0, *map(len, sets)]), np.array([rank for each in sets for rank in each], np.int32))
    a, b = np.array([0]), np.array([1])
    mask = without_parts(shared_mask(padded, a, b), padded, a, compound_parts(nouns))
    return {nouns[rank] for rank in padded[0][mask[0]]}


def test_shared_nouns_are_marked() -> None:
    padded = pad_sets(np.array([0, 3, 3, 5]), np.array([1, 4, 9, 4, 9], np.int32))
    assert padded.tolist() == [[1, 4, 9], [-1, -1, -1], [4, 9, -1]]
    mask = shared_mask(padded, np.array([0, 0, 1]), np.array([2, 1, 1]))
    assert mask.tolist() == [[False, True, True], [False] * 3, [False] * 3]


def test_a_shared_compound_counts_once_with_all_its_words() -> None:
    nouns = ["tennis racket", "racket", "tennis", "man"]
    assert shared(nouns, set(nouns), set(nouns)) == {"tennis racket", "man"}


def test_words_of_a_compound_count_where_only_one_caption_has_it() -> None:
    nouns = ["tennis ball", "soccer ball", "ball", "tennis"]
    assert shared(nouns, {"tennis ball", "ball"}, {"soccer ball", "ball"}) == {"ball"}
    assert shared(nouns, {"tennis ball", "ball", "tennis"}, {"ball", "tennis"}) == {"ball", "tennis"}


def test_two_compounds_with_one_head_are_two() -> None:
    nouns = ["tennis ball", "soccer ball", "ball"]
    assert shared(nouns, set(nouns), set(nouns)) == {"tennis ball", "soccer ball"}


def test_parts_are_words_and_runs_of_words() -> None:
    nouns = ["ice hockey stick", "hockey stick", "stick", "ice", "hockey", "dog"]
    parts = compound_parts(nouns)
    own = [set(parts.ranks[start:stop].tolist()) for start, stop in zip(parts.offsets, parts.offsets[1:], strict=False)]
    assert own == [{1, 2, 3, 4}, {2, 4}, set(), set(), set(), set()]
    assert parts.compound.tolist() == [True, True, False, False, False, False, False]


def test_ranges_stand_one_after_the_other() -> None:
    assert ranges(np.array([5, 0, 2]), np.array([2, 0, 3])).tolist() == [5, 6, 2, 3, 4]
