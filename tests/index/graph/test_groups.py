"""Nearest rows inside groups, compared with all rows."""

from __future__ import annotations

import numpy as np
import pytest

from index.graph import groups as module
from index.graph.groups import make_groups, nearest_in_groups
from index.graph.reduced import fit_reduction, widened
from tests.index.vectors import clustered

Halves = np.ndarray


@pytest.fixture(scope="module")
def points() -> Halves:
    images, _ = clustered(2_000, dim=64, clusters=40)
    return fit_reduction(images)(images)


def _exact(points: Halves, queries: Halves, k: int) -> np.ndarray:
    squared = ((widened(queries)[:, None] - widened(points)[None]) ** 2).sum(axis=2)
    return np.argsort(squared // 8, axis=1, kind="stable")[:, :k]


def test_every_row_is_in_one_group(points: Halves) -> None:
    groups = make_groups(points, 100)
    assert len(groups.members) == len(groups.centroids) == 20
    assert np.array_equal(np.sort(np.concatenate(groups.members)), np.arange(2_000))


def test_visits_to_all_groups_find_the_exact_neighbours(points: Halves) -> None:
    queries = points[:200]
    found = nearest_in_groups(points, make_groups(points, 400), queries, 5, 10).rows(0, 200)
    assert np.array_equal(np.sort(found, axis=1), np.sort(_exact(points, queries, 10), axis=1))
    assert np.array_equal(found[:, 0], np.arange(200))


@pytest.mark.parametrize("inner", [False, True])
def test_torch_finds_the_same_as_numpy(points: Halves, inner: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = make_groups(points, 100)
    on_cpu = nearest_in_groups(points, groups, points[:300], 4, 10, inner=inner, device="cpu").rows(0, 300)
    monkeypatch.setattr(module, "_on_cpu", lambda own, asked, by_product: module._on_gpu(own, asked, by_product, "cpu"))
    by_torch = nearest_in_groups(points, groups, points[:300], 4, 10, inner=inner, device="cpu").rows(0, 300)
    assert np.array_equal(on_cpu, by_torch)


def test_a_few_groups_have_most_of_them(points: Halves) -> None:
    found = nearest_in_groups(points, make_groups(points, 100), points, 4, 10).rows(0, 2_000)
    exact = _exact(points, points[:300], 10)
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=False)]) > 8.5


def test_captions_find_the_largest_products() -> None:
    images, captions = clustered(1_000, dim=64)
    reduction = fit_reduction(images)
    images, asked = reduction(images), reduction(captions[:100], centered=False)
    found = nearest_in_groups(images, make_groups(images, 250), asked, 4, 8, inner=True).rows(0, 100)
    products = widened(asked) @ widened(images).T
    least = np.sort(products, axis=1)[:, -8]
    assert (np.take_along_axis(products, found, axis=1) >= least[:, None] - 8).all()


def test_a_group_of_very_many_rows_is_cut_into_parts(points: Halves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_ROWS", 300)
    found = nearest_in_groups(points, make_groups(points, 2_000), points, 1, 5).rows(0, 2_000)
    assert (found >= 0).all()
    assert np.array_equal(found[:, 0], np.arange(2_000))  # each row meets itself
