"""Groups of images with something in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mining.strategies.groups
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import padded
from mining.strategies.neighbors.similarity import set_similarity
from tests.mining.conftest import propose
from tests.mining.made_sets import write_test_selection
from tests.mining.worlds import mining_store, subject


def _look_alike(store: EmbeddingStore, members: np.ndarray) -> float:
    return float(set_similarity(store, "image", members)[1].max())


def test_the_images_of_a_group_show_one_subject_and_differ(world: EmbeddingStore, tmp_path: Path) -> None:
    found = propose(world, tmp_path, "groups", group_size=(3, 4))
    members = padded(found.table["rows"])
    assert set((members >= 0).sum(axis=1).tolist()) == {3, 4}
    assert _look_alike(world, members) < found.measured["far"]
    for one in found.table.to_pylist():
        (shown,) = {subject(row) for row in one["rows"]}
        assert shown in one["shared_nouns"]
        assert one["reference"].startswith("All of these images show: ")
        assert shown in one["reference"]
        assert one["rows"] == sorted(set(one["rows"]))


def test_the_level_is_higher_the_more_the_images_differ(world: EmbeddingStore, tmp_path: Path) -> None:
    table = propose(world, tmp_path, "groups", 60, group_size=(3, 3)).table
    similarity, _ = set_similarity(world, "image", padded(table["rows"]))
    level = table["level"].to_numpy()
    assert set(level.tolist()) == {1, 2, 3, 4}
    assert (table["difficulty"].to_numpy() == level / 4).all()
    means = [similarity[level == each].mean() for each in (1, 2, 3, 4)]
    assert means == sorted(means, reverse=True)


def test_with_a_selection_a_group_is_of_one_concept_and_its_reference_is_what_captions_say(tmp_path: Path) -> None:
    store = mining_store(tmp_path, text=False)
    concepts = {"a dog": range(0, 240, 6), "a boat": range(1, 240, 6), "rare": [5, 11]}
    selection = write_test_selection(store, tmp_path / "selection", concepts)
    found = propose(store, tmp_path, "groups", 40, selection=selection, group_size=(3, 4))
    assert found.dropped["concepts of too few images"] == 1
    for one in found.table.to_pylist():
        assert set(one["rows"]) <= set(concepts[one["concept"]])
        shared = one["shared_nouns"]
        assert one["reference"] == (f"All of these images show: {', '.join(shared)}." if shared else None)
        assert one["reasons"][0] == f"all were retrieved for {one['concept']}"
    assert set(found.table["concept"].to_pylist()) == {"a dog", "a boat"}
    assert 0 < found.table["reference"].null_count < found.table.num_rows  # a third of the captions say nothing


def test_the_groups_do_not_depend_on_how_the_work_is_cut(
    world: EmbeddingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = propose(world, tmp_path / "whole", "groups").table
    monkeypatch.setattr(mining.strategies.groups, "ITEM_ANCHORS", 17)
    monkeypatch.setattr(mining.strategies.groups, "ITEM_GROUPS", 5)
    assert propose(world, tmp_path / "cut", "groups").table.equals(whole)


def test_without_captions_a_selection_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no text embeddings"):
        propose(mining_store(tmp_path, text=False), tmp_path, "groups")
