"""Groups of near-duplicates: exact, by cells, with copies in bulk, and images without a vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import index.duplicates.near_duplicates as module
from index.duplicates.components import join_groups
from index.duplicates.near_duplicates import StoreVectors, near_duplicate_groups, near_duplicate_pairs
from tests.mining.worlds import mining_store

Array = npt.NDArray[np.float32]


def _unit(vectors: npt.NDArray[np.float64]) -> Array:
    unit: Array = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _copies(images: int, copied: int, dim: int = 32, seed: int = 0) -> tuple[Array, npt.NDArray[np.int64]]:
    """(vectors, source): `images` pictures, then a near copy, at a cosine of about 0.97, of each of the first ones."""
    rng = np.random.default_rng(seed)
    own = _unit(rng.normal(size=(images, dim)))
    near = own[:copied] + rng.normal(size=(copied, dim)) * 0.25 / dim**0.5
    return np.concatenate([own, _unit(near)]), np.concatenate([np.arange(images), np.arange(copied)])


def _brute(vectors: Array, threshold: float) -> npt.NDArray[np.int64]:
    group = np.arange(len(vectors))
    for one, other in zip(*np.nonzero(np.triu(vectors @ vectors.T >= threshold, 1)), strict=True):
        group[group == max(group[one], group[other])] = min(group[one], group[other])
    return group


def test_a_copy_is_in_the_group_of_its_source() -> None:
    vectors, source = _copies(300, 100)
    assert near_duplicate_groups(vectors, 0.94).tolist() == source.tolist()


def test_a_chain_of_near_duplicates_is_one_group() -> None:
    angles = np.array([0.0, 0.3, 0.6, 0.9, 2.0])  # neighbours: cosine 0.955, the ends: 0.62
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
    assert near_duplicate_groups(vectors, 0.94).tolist() == [0, 0, 0, 0, 4]
    assert near_duplicate_groups(vectors, 0.96).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("tile", [7, 64])
def test_tiles_and_leaders_change_nothing(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = _copies(120, 60, dim=4)  # few directions: many groups, some of them large
    monkeypatch.setattr(module, "_TILE", tile)
    monkeypatch.setattr(module, "_WIDE", 2 * tile)
    monkeypatch.setattr(module, "_JOINED", 50)
    assert near_duplicate_groups(vectors, 0.9).tolist() == _brute(vectors, 0.9).tolist()


def test_cells_find_the_copies_and_join_no_others() -> None:
    vectors, source = _copies(3_000, 1_000, seed=1)
    groups = near_duplicate_groups(vectors, 0.94, exact=100)
    assert (groups[3_000:] == source[3_000:]).mean() > 0.95
    assert (groups[:3_000] == np.arange(3_000)).all()


def test_copies_in_bulk_are_one_group_and_few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TILE", 50)
    monkeypatch.setattr(module, "_WIDE", 100)
    rng = np.random.default_rng(0)
    vectors = np.concatenate([np.repeat(_copies(1, 0)[0], 2_000, axis=0), _unit(rng.normal(size=(100, 32)))])
    for exact in (0, 5_000):
        assert near_duplicate_groups(vectors, 0.94, exact=exact)[:2_000].max() == 0
        pairs = sum(len(one) for one, _ in near_duplicate_pairs(vectors, 0.94, exact=exact))
        assert pairs < 2_000 * 2_000 / 8


def test_images_without_a_vector_are_alone_unless_their_bytes_are_equal() -> None:
    vectors, _ = _copies(4, 0)
    vectors[1], vectors[2] = np.nan, 0
    assert near_duplicate_groups(vectors, 0.94).tolist() == [0, 1, 2, 3]
    assert near_duplicate_groups(vectors, 0.94, [np.array([-1, 5, 5, -1])]).tolist() == [0, 1, 1, 3]
    assert near_duplicate_groups(vectors, 0.94, [np.array([-1, 5, 5, -1]), np.array([7, -1, 7, 8])]).tolist() == [
        0, 0, 0, 3,
    ]  # fmt: skip


def test_no_image_and_one_image_make_groups() -> None:
    assert near_duplicate_groups(np.empty((0, 8), np.float16), 0.94).tolist() == []
    assert near_duplicate_groups(np.ones((1, 4), np.float16) / 2, 0.94, exact=0).tolist() == [0]


def test_rows_of_a_store_are_read_as_they_are_needed(tmp_path: Path) -> None:
    store = mining_store(tmp_path)  # its last two rows are one picture
    groups = near_duplicate_groups(StoreVectors(store, np.array([3, 239, 8, 238])), 0.98)
    assert groups.tolist() == [0, 1, 2, 1]


def test_joins_follow_chains_of_any_length() -> None:
    places = np.random.default_rng(0).permutation(999)
    assert join_groups(np.arange(1_000), places, places + 1).tolist() == [0] * 1_000


@pytest.mark.parametrize("exact", [2, 50])
def test_where_groups_are_known_only_images_of_one_are_compared(exact: int) -> None:
    vectors, source = _copies(300, 100)
    assert near_duplicate_groups(vectors, 0.94, exact=exact, within=source).tolist() == source.tolist()
    apart = np.arange(len(vectors))
    assert near_duplicate_groups(vectors, 0.94, exact=exact, within=apart).tolist() == apart.tolist()


def test_a_large_known_group_is_compared_by_cells() -> None:
    vectors, source = _copies(300, 100)
    one_group = np.zeros(len(vectors), np.int64)
    assert near_duplicate_groups(vectors, 0.94, exact=50, within=one_group).tolist() == source.tolist()
