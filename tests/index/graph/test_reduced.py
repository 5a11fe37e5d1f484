"""Vectors of few whole numbers: near rows stay near, and all products are exact."""

from __future__ import annotations

import numpy as np
import pytest

from index.graph.reduced import UNIT, fit_reduction, widened
from tests.index.vectors import clustered


def test_the_nearest_rows_are_those_of_the_whole_vectors() -> None:
    generator = np.random.default_rng(0)
    wide = generator.normal(size=(800, 30)) @ generator.normal(size=(30, 300)) + generator.normal(size=300)
    unit = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float16)
    reduced = widened(fit_reduction(unit)(unit))
    assert reduced.shape == (800, 128)
    exact = np.argsort(-(widened(unit) @ widened(unit).T), axis=1)[:, :10]
    squared = ((reduced[:, None] - reduced[None]) ** 2).sum(axis=2)
    found = np.argsort(squared, axis=1, kind="stable")[:, :10]
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True)]) > 9.7


def test_values_are_whole_and_small_enough_for_exact_sums() -> None:
    opposite = np.eye(1, 64, dtype=np.float32)
    reduction = fit_reduction(np.repeat(opposite, 5, axis=0))
    values = reduction(np.concatenate([opposite, -opposite]))
    assert values.dtype == np.float16
    assert np.array_equal(values, np.rint(values))
    assert np.linalg.norm(values.astype(np.float64), axis=1).max() <= 2 * UNIT + 1


def test_products_with_captions_rank_images_as_inner_products_do() -> None:
    images, captions = clustered(400, dim=64)
    reduction = fit_reduction(images)
    products = widened(reduction(captions[:50], centered=False)) @ widened(reduction(images)).T
    exact = widened(captions[:50]) @ widened(images).T
    for found, wanted in zip(products, exact, strict=True):
        assert np.corrcoef(found, wanted)[0, 1] > 0.999


def test_the_same_sample_gives_the_same_planes_with_any_number_of_threads() -> None:
    torch = pytest.importorskip("torch")
    images, _ = clustered(400, dim=64)
    before, planes = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            planes.append(fit_reduction(images).planes)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(planes[0], planes[1])
