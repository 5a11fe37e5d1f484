"""Crowds are found, wherever their rows are; rows that thin out evenly are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import index.graph.crowds as crowds_module
from index.graph.crowds import find_crowds
from tests.index.vectors import Halves, clustered, vector_store

DIM = 64


def around(rng: np.random.Generator, count: int, noise: float) -> npt.NDArray[np.float64]:
    """Rows around one direction; two of them have a cosine of about 1 / (1 + noise^2)."""
    center = rng.normal(size=DIM)
    rows: npt.NDArray[np.float64] = center / np.linalg.norm(center) + noise / np.sqrt(DIM) * rng.normal(
        size=(count, DIM)
    )
    return rows


def world(sizes: dict[float, int], rest: int = 1_500) -> tuple[Halves, npt.NDArray[np.int64]]:
    """Vectors in random order, and for each the number of its crowd, -1 for the rest."""
    rng = np.random.default_rng(2)
    groups = [clustered(rest, DIM)[0].astype(np.float64), *(around(rng, size, noise) for noise, size in sizes.items())]
    kind = np.repeat(np.arange(-1, len(sizes)), [rest, *sizes.values()])
    order = rng.permutation(len(kind))
    vectors = np.concatenate(groups)[order]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16), kind[order]


def found(folder: Path, vectors: Halves, distinct: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.int64]:
    every = np.arange(len(vectors)) if distinct is None else distinct
    return find_crowds(vector_store(folder, vectors), "image", 0, len(vectors), every)


def test_each_crowd_has_one_leader_and_other_rows_lead_themselves(tmp_path: Path) -> None:
    vectors, kind = world({0.005: 700, 0.1: 60, 0.14: 200, 0.05: 10, 0.4: 300})
    leaders = found(tmp_path, vectors)
    for crowd in range(3):
        assert len(np.unique(leaders[kind == crowd])) == 1
        assert kind[leaders[kind == crowd][0]] == crowd
    loose = np.flatnonzero((kind < 0) | (kind > 2))  # no crowd: ten rows, and rows too far apart
    assert np.array_equal(leaders[loose], loose)
    assert np.array_equal(
        leaders, find_crowds(vector_store(tmp_path / "again", vectors), "image", 0, 2_770, np.arange(2_770))
    )


def test_rows_that_thin_out_evenly_are_no_crowd(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    center = rng.normal(size=DIM)
    steps = rng.normal(size=(2_000, DIM)) * rng.uniform(0, 0.6, size=(2_000, 1))
    vectors = center / np.linalg.norm(center) + steps / np.sqrt(DIM)
    leaders = found(tmp_path, (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16))
    assert np.array_equal(leaders, np.arange(2_000))


def test_only_the_rows_asked_for_join_a_crowd(tmp_path: Path) -> None:
    vectors, kind = world({0.01: 300})
    distinct = np.setdiff1d(np.arange(len(kind)), np.flatnonzero(kind == 0)[:100])
    leaders = found(tmp_path, vectors, distinct)
    members = np.flatnonzero(leaders != np.arange(len(kind)))
    assert len(members) == 199
    assert np.isin(members, distinct).all()


def test_a_large_crowd_is_cut_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds_module, "_MOST", 100)
    vectors, kind = world({0.01: 350})
    leaders = found(tmp_path, vectors)
    names, sizes = np.unique(leaders[kind == 0], return_counts=True)
    assert sorted(sizes.tolist()) == [87, 87, 88, 88]
    assert np.array_equal(leaders[names], names)
    assert np.array_equal(leaders[kind < 0], np.flatnonzero(kind < 0))


def test_few_rows_are_no_crowd(tmp_path: Path) -> None:
    assert np.array_equal(found(tmp_path, world({0.01: 20}, rest=5)[0]), np.arange(25))
