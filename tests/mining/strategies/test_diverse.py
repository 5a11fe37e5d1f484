"""`diverse`: one concept, different pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import padded
from mining.strategies.neighbors.similarity import similarities
from tests.mining.conftest import propose
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import subject


def test_close_captions_of_one_subject_with_far_images(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "diverse")
    rows = padded(found.table["rows"])
    assert len(rows) > 5
    assert all(subject(a) == subject(b) for a, b in rows.tolist())
    assert (similarities(world, "image", rows) < found.measured["far"]).all()
    assert (similarities(world, "text", rows) >= found.measured["captions close from"]).all()


def test_captions_that_say_nothing_of_their_image_make_no_pair(world: EmbeddingStore, tmp_path: Path) -> None:
    rows = padded(propose(world, tmp_path, "diverse").table["rows"])
    captions = world.metadata(np.unique(rows), ["caption"])["caption"].to_pylist()
    assert "click to enlarge" not in captions


def test_the_concepts_of_a_selection_say_what_belongs_together(world: EmbeddingStore, tmp_path: Path) -> None:
    concepts = {"dog": range(0, 240, 6), "boat": range(1, 240, 6), "cup": [5]}
    selection = write_test_selection(world, tmp_path / "selection", concepts)
    found = propose(world, tmp_path, "diverse", wanted=20, selection=selection)
    rows, names = padded(found.table["rows"]), found.table["concept"].to_pylist()
    assert set(names) == {"dog", "boat"}
    assert all(subject(a) == subject(b) == name for (a, b), name in zip(rows.tolist(), names, strict=True))
    assert min(names.count("dog"), names.count("boat")) > 0.4 * len(names)
    assert found.table["reasons"].to_pylist()[0][0] == f"both were retrieved for {names[0]}"
