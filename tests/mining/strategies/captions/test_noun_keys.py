"""Keys of noun sets: sets that share enough nouns have one in common, and frequent nouns alone are no key."""

from __future__ import annotations

import numpy as np

from mining.strategies.captions.noun_keys import path_keys


def test_both_sets_of_a_pair_are_listed_under_a_common_key() -> None:
    rng = np.random.default_rng(1)
    sets = [np.flatnonzero(rng.random(60) < np.linspace(0.02, 0.4, 60)) for _ in range(300)]
    offsets = np.cumsum([0, *map(len, sets)])
    keys, owners = path_keys(offsets, np.concatenate(sets).astype(np.int32), np.linspace(0.02, 0.4, 60), 5, 300, 4)
    under: dict[int, set[int]] = {}
    for key, owner in zip(keys.tolist(), owners.tolist(), strict=True):
        under.setdefault(owner, set()).add(key)
    there = np.array([np.isin(np.arange(60), each) for each in sets], np.int64)
    pairs = np.argwhere(np.triu(there @ there.T, 1) >= 5)
    assert len(pairs) > 1_000
    assert all(under[one] & under[other] for one, other in pairs.tolist())


def test_a_set_of_fewer_nouns_has_no_key() -> None:
    ranks = np.array([0, 1, 0, 1, 2], np.int32)
    _, owners = path_keys(np.array([0, 2, 5]), ranks, np.array([0.1, 0.2, 0.3]), 3, 10, 4)
    assert set(owners.tolist()) == {1}


def test_a_rare_noun_is_a_key_alone_and_a_frequent_one_only_with_the_next() -> None:
    """Nouns 0 and 1 are rare, 2 and 3 are in half of 1,000 captions; a list may be 20 long."""
    frequency = np.array([0.001, 0.002, 0.5, 0.5])
    sets = [[0, 2], [0, 3], [2, 3], [1, 2, 3]]
    offsets, ranks = np.cumsum([0, *map(len, sets)]), np.concatenate(sets).astype(np.int32)
    keys, owners = path_keys(offsets, ranks, frequency, 2, 1_000, 20)
    own = [set(keys[owners == place].tolist()) for place in range(len(sets))]
    assert own[0] == own[1]  # both are listed under noun 0 alone
    assert len(own[2]) == 1
    assert own[2] < own[3]  # nouns 2 and 3 together
    assert not own[0] & own[3]
