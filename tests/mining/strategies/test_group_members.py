"""The members of a group: in their order, those that are far from all before."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.store.embedding_store import EmbeddingStore
from mining.strategies.group_members import GroupItem, choose_members, group_sizes, members_file, spread
from mining.strategies.neighbors.similarity import set_similarity
from mining.strategies.neighbors.work_arrays import read_arrays, write_array
from tests.mining.conftest import mining_context


def test_an_image_close_to_one_before_is_passed_over() -> None:
    angles = np.array([[0.0, 0.1, 1.5, 1.6, 3.0, 0.7]])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=2).astype(np.float32)
    there = np.ones((1, 6), np.bool_)
    assert spread(vectors, there, 0.9, np.array([9])).tolist() == [[True, False, True, False, True, True]]
    assert spread(vectors, there, 0.9, np.array([2])).tolist() == [[True, False, True, False, False, False]]
    there[0, 2] = False
    assert spread(vectors, there, 0.9, np.array([9])).tolist() == [[True, False, False, True, True, True]]


def test_sizes_are_spread_over_the_range() -> None:
    sizes = group_sizes(np.arange(6_000), (3, 8), 0)
    assert np.bincount(sizes)[3:].min() > 800
    assert sizes.min() == 3
    assert sizes.max() == 8


def test_a_list_gives_its_anchor_and_others_without_repeats_and_gaps(world: EmbeddingStore, tmp_path: Path) -> None:
    ctx = mining_context(world, tmp_path, "groups", group_size=(2, 4))
    write_array(ctx, "lists.npy", np.array([[0, 6, 6, 12, -1, 18, 24], [238, 239, 239, 238, -1, -1, -1]]))
    item = GroupItem(0, 0, 2, 0.97)
    assert choose_members(item, ctx) == choose_members(item, ctx) == 2
    first, second = read_arrays(ctx, members_file(item))["members"]
    assert first[0] == 0
    chosen = first[first >= 0]
    assert len(np.unique(chosen)) == len(chosen) >= 2
    assert set_similarity(world, "image", first[None])[1] < 0.97
    assert second.tolist() == [238, -1, -1, -1]  # row 239 is the same picture
