"""`contrast`: alike in one way and not in the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import padded
from mining.strategies.neighbors.similarity import similarities
from tests.mining.conftest import propose


def test_both_kinds_are_found_and_each_says_which_it_is(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "contrast")
    rows = padded(found.table["rows"])
    kinds = np.array([reasons[0].partition(":")[0] for reasons in found.table["reasons"].to_pylist()])
    assert set(kinds) == {"images alike, captions not", "captions alike, images not"}
    by_images = kinds == "images alike, captions not"
    image, text = similarities(world, "image", rows), similarities(world, "text", rows)
    measured = found.measured
    assert (image[by_images] >= measured["look-alike floor"]).all()
    assert (text[by_images] < measured["captions differ below"]).all()
    assert (text[~by_images] >= measured["captions close from"]).all()
    assert (image[~by_images] < measured["images differ below"]).all()


def test_a_higher_level_is_a_stronger_contrast(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "contrast")
    reasons, level = found.table["reasons"].to_pylist(), found.table["level"].to_numpy()
    text = similarities(world, "text", padded(found.table["rows"]))
    by_images = np.array([each[0].startswith("images alike") for each in reasons])
    means = [text[by_images & (level == each)].mean() for each in sorted(set(level[by_images].tolist()))]
    assert means == sorted(means, reverse=True)
