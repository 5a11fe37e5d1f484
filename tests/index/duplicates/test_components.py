"""Connected components: least rows, chains, and members of groups."""

from __future__ import annotations

import numpy as np

from index.duplicates.components import join_groups, members_of, spanning_edges


def test_pairs_join_groups_and_each_group_is_named_by_its_first_image() -> None:
    joined = join_groups(np.arange(6), np.array([5, 3]), np.array([3, 1]))
    assert joined.tolist() == [0, 1, 2, 1, 4, 1]


def test_edges_name_the_least_row_of_a_chain_given_in_any_order() -> None:
    rows = np.random.default_rng(0).permutation(50) + 1_000_000
    pairs = np.stack([rows[1:], rows[:-1]], axis=1)
    edges = spanning_edges(np.random.default_rng(1).permutation(pairs))
    assert edges[:, 0].tolist() == list(range(1_000_001, 1_000_050))
    assert set(edges[:, 1].tolist()) == {1_000_000}


def test_edges_of_edges_are_the_same_and_no_pairs_give_none() -> None:
    pairs = np.array([[7, 3], [3, 9], [20, 21], [9, 3]])
    edges = spanning_edges(pairs)
    assert edges.tolist() == [[7, 3], [9, 3], [21, 20]]
    assert spanning_edges(edges).tolist() == edges.tolist()
    assert spanning_edges(np.empty((0, 2), np.int64)).shape == (0, 2)


def test_members_are_those_of_groups_of_two_or_more_with_a_number() -> None:
    found = [members.tolist() for members in members_of(np.array([4, -1, 4, 9, -1, 2, 2, 4]))]
    assert found == [[5, 6], [0, 2, 7]]
    assert list(members_of(np.empty(0, np.int64))) == []
