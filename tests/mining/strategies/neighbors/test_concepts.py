"""Neighbours within the concepts of a selection."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import in_process
from mining.strategies.minable import minable_rows
from mining.strategies.neighbors.concepts import nearest_in_concepts
from tests.mining.conftest import mining_context
from tests.mining.made_sets import write_test_selection

CONCEPTS = {"boat": range(1, 240, 6), "dog": range(0, 240, 6), "cup": [5], "few": [0, 1, 2]}


def test_neighbours_are_the_nearest_rows_of_the_same_concept(world: EmbeddingStore, tmp_path: Path) -> None:
    selection = write_test_selection(world, tmp_path / "selection", CONCEPTS)
    ctx = mining_context(world, tmp_path, "similar", selection=selection)
    near = nearest_in_concepts(ctx, in_process(ctx), minable_rows(ctx, world), 40, 4)
    vectors = world.gather("image", np.arange(240)).astype(np.float64)
    names = near.names.take(near.concept).to_pylist()
    assert set(names) == {"boat", "dog", "few"}  # a single image of a concept has no neighbour
    assert names.count("boat") == names.count("dog") == 10
    for anchor, name, ids, similarity in zip(near.anchors, names, near.ids, near.similarity, strict=True):
        others = np.setdiff1d(CONCEPTS[name], [anchor])
        order = others[np.argsort(-(vectors[others] @ vectors[anchor]), kind="stable")][:4]
        assert ids[ids >= 0].tolist() == order.tolist()
        assert np.allclose(similarity[ids >= 0], vectors[order] @ vectors[anchor], atol=1e-5)
        assert (similarity[ids < 0] == -np.inf).all()


def test_finished_concepts_are_not_searched_again(world: EmbeddingStore, tmp_path: Path) -> None:
    selection = write_test_selection(world, tmp_path / "selection", CONCEPTS)
    ctx = mining_context(world, tmp_path, "similar", selection=selection)
    first = nearest_in_concepts(ctx, in_process(ctx), minable_rows(ctx, world), 40, 4)
    written = {each.name: each.stat().st_mtime_ns for each in Path(ctx.folder).glob("concept_*.npz")}
    assert len(written) == 3
    again = nearest_in_concepts(ctx, in_process(ctx), minable_rows(ctx, world), 40, 4)
    assert {each.name: each.stat().st_mtime_ns for each in Path(ctx.folder).glob("concept_*.npz")} == written
    assert (again.ids == first.ids).all()
