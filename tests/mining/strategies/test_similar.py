"""`similar`: look-alikes between a floor and a ceiling that the store itself gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import read_manifest, write_manifest
from mining.strategies.context import padded
from mining.strategies.neighbors.similarity import similarities
from tests.mining.conftest import propose
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import mining_store, subject


def test_pairs_are_look_alikes_and_not_one_picture(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "similar", wanted=60)
    rows = padded(found.table["rows"])
    similarity = similarities(world, "image", rows)
    floor, ceiling = found.measured["floor"], found.measured["ceiling"]
    assert found.table.num_rows > 60
    assert ((similarity >= floor) & (similarity < ceiling)).all()
    assert [238, 239] not in rows.tolist()  # the one picture that is there twice
    assert (rows[:, 0] < rows[:, 1]).all()
    assert np.mean([subject(a) == subject(b) for a, b in rows.tolist()]) > 0.9  # by chance: one in six


def test_levels_are_bands_of_similarity_and_reasons_say_it(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "similar")
    similarity = similarities(world, "image", padded(found.table["rows"]))
    level = found.table["level"].to_numpy()
    tops = [similarity[level == each].max() for each in (1, 2, 3, 4)]
    assert tops == sorted(tops)
    one = found.table.slice(0, 1).to_pylist()[0]
    assert f"image similarity {similarity[0]:.2f}" in one["reasons"][0]
    assert f"(band {one['level']} of 4)" in one["reasons"][0]


def test_what_is_looked_at_adds_up(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "similar", wanted=10)
    assert found.table.num_rows == 40
    assert found.dropped["near-duplicates"] >= 1
    assert found.considered == 240 * 16  # every row is an anchor with 16 neighbours
    assert found.considered == found.table.num_rows + sum(found.dropped.values())


def test_a_lower_limit_for_duplicates_lowers_the_ceiling(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "similar", near_duplicates=0.8)
    assert found.measured["ceiling"] == 0.8
    assert (similarities(world, "image", padded(found.table["rows"])) < 0.8).all()


def test_a_store_of_one_picture_over_and_over_has_no_look_alikes(tmp_path: Path) -> None:
    store = mining_store(tmp_path, rows=30)
    same = np.repeat(store.gather("image", [0]), 15, axis=0)
    for part in range(2):
        np.save(store.part_file(part, "image"), same)
    found = propose(EmbeddingStore.open(store.path), tmp_path, "similar")
    assert found.table.num_rows == 0


def test_with_a_selection_both_images_are_of_one_concept_which_is_named(world: EmbeddingStore, tmp_path: Path) -> None:
    concepts = {"dog": range(0, 240, 6), "boat": range(1, 240, 6), "cup": [5]}
    selection = write_test_selection(world, tmp_path / "selection", concepts)
    found = propose(world, tmp_path, "similar", wanted=10, selection=selection)
    names = found.table["concept"].to_pylist()
    assert set(names) == {"dog", "boat"}
    for rows, name in zip(found.table["rows"].to_pylist(), names, strict=True):
        assert [subject(row) for row in rows] == [name, name]
    assert min(names.count("dog"), names.count("boat")) > 0.3 * len(names)


def test_nearly_identical_images_need_pixels(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "similar", ceiling=1.0)
    assert found.near_duplicates == 2.0  # the filter of all strategies would drop them again
    assert found.dropped["nearly identical, an image that cannot be read"] >= 1  # the pictures of this store are empty
    store = mining_store(tmp_path / "other", rows=30)
    manifest = read_manifest(str(store.path))
    write_manifest(str(store.path), replace(manifest, corpus_root=None))
    with pytest.raises(BadInput, match="embeddings without images"):
        propose(EmbeddingStore.open(store.path), tmp_path / "other", "similar", ceiling=1.0)


def test_difficulty_rises_with_the_level(world: EmbeddingStore, tmp_path: Path) -> None:
    table = propose(world, tmp_path, "similar").table
    assert np.allclose(table["difficulty"].to_numpy(), table["level"].to_numpy() / 5)
