"""Queries that graphs find hard, made of what the index holds: beside crowds, and beside forgotten rows.

Captions alone do not show what such queries lose: with a crowd of 6,000 of 20,000 rows, recall@10 on captions was .97,
and .42 on queries that lean towards the crowd.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from index.graph.hnsw import usable_rows
from index.graph.search_index import HnswIndex

__all__ = ["BESIDE_CROWDS", "BESIDE_FORGOTTEN", "hard_queries"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

BESIDE_CROWDS = "beside crowds of near-copies"
BESIDE_FORGOTTEN = "beside forgotten rows"

# Rows that are compared with each other; a crowd of one row in 200 has ten of them.
_SAMPLE = 2_000
# A row with ten sampled rows this near (18 degrees) is in a crowd, wider ones than those that share a node among them.
_CROWDED, _NEIGHBOURS = 0.95, 10
# How much of a crowd's row a query holds: its nearest rows are outside the crowd with .15, on its edge with .5.
_LEANS = (0.15, 0.5)


def hard_queries(index: HnswIndex, count: int, seed: int) -> list[tuple[str, Floats]]:
    """(name, up to `count` unit queries [n, d]) of each kind that the index has rows for; `seed` decides them."""
    generator = np.random.Generator(np.random.PCG64([seed, 1]))
    kinds = (
        (BESIDE_CROWDS, _beside_crowds(index, count, generator)),
        (BESIDE_FORGOTTEN, _beside_forgotten(index, count, generator)),
    )
    return [(name, queries) for name, queries in kinds if len(queries)]


def _beside_crowds(index: HnswIndex, count: int, generator: np.random.Generator) -> Floats:
    """Rows outside the crowds that are moved towards a row of one."""
    sample = _usable(index, np.unique(generator.integers(0, index.store.rows, _SAMPLE)))
    crowded = (sample @ sample.T >= _CROWDED).sum(axis=1) > _NEIGHBOURS
    leaders = np.concatenate(
        [shard.to_store(shard.crowds.nodes + shard.first_row) for shard in index.opened] or [np.empty(0, np.int64)]
    )
    leaders = generator.permutation(leaders[~index.store.is_forgotten(leaders)])[:count]
    towards = np.concatenate([sample[crowded], _usable(index, leaders)])
    if not len(towards):
        return towards
    outside = sample[~crowded] if not crowded.all() else sample
    queries = outside[generator.integers(0, len(outside), count)]
    lean = np.resize(np.array(_LEANS, np.float32), count)[:, None]
    return _unit(queries + lean * towards[generator.integers(0, len(towards), count)])


def _beside_forgotten(index: HnswIndex, count: int, generator: np.random.Generator) -> Floats:
    """Vectors of forgotten rows that are still in the graphs: half of them any, half where most others are near."""
    forgotten = index.store.forgotten
    some = np.sort(generator.permutation(forgotten)[:_SAMPLE]) if len(forgotten) else forgotten
    vectors = np.concatenate(
        [np.empty((0, index.store.dim), np.float32), *(shard.stored(shard.from_store(some)) for shard in index.opened)]
    )
    if len(vectors) <= count:
        return _unit(vectors)
    products = vectors @ vectors.T
    near = np.partition(products, -min(50, len(vectors)), axis=1)[:, -min(50, len(vectors))]
    dense = np.argsort(-near, kind="stable")[: count // 2]
    others = np.setdiff1d(np.arange(len(vectors)), dense)
    return _unit(vectors[np.concatenate([dense, generator.permutation(others)[: count - len(dense)]])])


def _usable(index: HnswIndex, rows: Ids) -> Floats:
    vectors = np.asarray(index.store.gather(index.modality, rows), np.float32)
    return vectors[usable_rows(vectors)]


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats = (vectors / np.maximum(lengths, 1e-30)).astype(np.float32)
    return unit
