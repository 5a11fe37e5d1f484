"""Links chosen among candidates, compared with the rule written out."""

from __future__ import annotations

import numpy as np
import pytest

from index.graph.prune import choose_links, reduced_storage, reversed_links, stored


def _storage(points: np.ndarray) -> object:
    storage = reduced_storage(points.shape[1])
    storage.add_sa_codes(points.astype(np.float16).view(np.uint8))
    return storage


def _by_rule(points: np.ndarray, node: int, candidates: list[int], most: int, relaxed: float) -> list[int]:
    def squared(a: int, b: int) -> float:
        return float(((points[a] - points[b]) ** 2).sum())

    chosen: list[int] = []
    for one in sorted({c for c in candidates if c not in (-1, node)}, key=lambda c: (squared(node, c), c)):
        if len(chosen) < most and all(squared(one, other) >= squared(node, one) / relaxed**2 for other in chosen):
            chosen.append(one)
    return chosen


@pytest.mark.parametrize("relaxed", [1.0, 1.1, 1.5])
def test_candidates_near_a_chosen_one_are_dropped(relaxed: float) -> None:
    generator = np.random.default_rng(0)
    points = np.rint(generator.normal(size=(300, 16)) * 200)
    candidates = generator.integers(-1, 300, (20, 40)).astype(np.int32)
    links = choose_links(_storage(points), 50, candidates, 16, relaxed)
    for row, found in enumerate(links.tolist()):
        kept = [link for link in found if link >= 0]
        wanted = _by_rule(points, 50 + row, candidates[row].tolist(), 16, relaxed)
        assert set(kept) == set(wanted)
        assert found == kept + [-1] * (16 - len(kept))


def test_a_node_without_candidates_has_no_links() -> None:
    points = np.rint(np.random.default_rng(0).normal(size=(5, 8)) * 100)
    links = choose_links(_storage(points), 0, np.array([[-1, 0], [2, 0]], np.int32), 4, 1.0)
    assert links.tolist() == [[-1] * 4, [2, -1, -1, -1]]


def test_of_an_odd_number_of_links_one_place_stays_empty() -> None:
    points = np.rint(np.random.default_rng(0).normal(size=(60, 8)) * 200)
    candidates = np.tile(np.arange(60, dtype=np.int32), (60, 1))
    links = choose_links(_storage(points), 0, candidates, 5, 1.5)
    assert links.shape == (60, 5)
    assert (links[:, 4] == -1).all()
    assert (links[:, :4] >= 0).any()


def test_reversed_links_come_from_the_nodes_that_rank_it_first() -> None:
    links = np.array([[1, 2], [2, -1], [1, 0], [2, 1]], np.int32)
    assert reversed_links(links, 2).tolist() == [[2, -1], [0, 2], [1, 3], [-1, -1]]
    assert reversed_links(links, 3)[1].tolist() == [0, 2, 3]


def test_the_storage_gives_the_values_back() -> None:
    points = np.rint(np.random.default_rng(0).normal(size=(5, 8)) * 500)
    assert np.array_equal(stored(_storage(points)), points)
