"""groups.json: written and read again, damaged, and of vectors that were replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from index.duplicates.groups_manifest import (
    groups_folder,
    read_groups_manifest,
    remove_other_files,
    segment_name,
    write_groups_manifest,
)
from index.duplicates.segments import DuplicatesConfig
from index.errors import StoreInvalid
from index.store.embedding_store import EmbeddingStore
from tests.index.duplicates.test_segments import find_groups
from tests.index.duplicates.worlds import with_copies
from tests.index.vectors import vector_store


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return vector_store(tmp_path / "store", with_copies(200, 40))


def test_what_is_written_is_read_and_without_groups_there_is_none(store: EmbeddingStore) -> None:
    assert read_groups_manifest(store) is None
    find_groups(DuplicatesConfig(str(store.path)))
    manifest = read_groups_manifest(store)
    assert manifest is not None
    assert manifest.is_of(store)
    write_groups_manifest(store, manifest)
    assert read_groups_manifest(store) == manifest


def test_a_segment_is_named_by_limit_rows_and_vectors(store: EmbeddingStore, tmp_path: Path) -> None:
    other = vector_store(tmp_path / "other", with_copies(200, 40, seed=1))
    names = {
        segment_name(store, 0.94, 0, 200, 200),
        segment_name(store, 0.95, 0, 200, 200),
        segment_name(store, 0.94, 100, 100, 200),
        segment_name(other, 0.94, 0, 200, 200),
    }
    assert len(names) == 4


def test_groups_of_another_store_are_not_those_of_this_one(store: EmbeddingStore, tmp_path: Path) -> None:
    find_groups(DuplicatesConfig(str(store.path)))
    manifest = read_groups_manifest(store)
    other = vector_store(tmp_path / "other", with_copies(200, 40, seed=1))
    assert manifest is not None
    assert not manifest.is_of(other)


def test_a_damaged_file_is_named_and_another_version_counts_as_none(store: EmbeddingStore) -> None:
    find_groups(DuplicatesConfig(str(store.path)))
    path = groups_folder(store) / "groups.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    assert read_groups_manifest(store) is None
    path.write_text("{")
    with pytest.raises(StoreInvalid, match=r"groups.json: is damaged .*clipmine duplicates"):
        read_groups_manifest(store)


def test_other_files_of_segments_and_columns_are_removed_and_no_others(store: EmbeddingStore) -> None:
    folder = groups_folder(store)
    folder.mkdir()
    for name in ("a.edges.npy", "b.edges.npy", "a.groups.npy", "notes.txt"):
        (folder / name).touch()
    remove_other_files(store, ["b.edges.npy"])
    assert sorted(file.name for file in folder.iterdir()) == ["b.edges.npy", "notes.txt"]


@pytest.mark.parametrize("change", [{"rows": "200"}, {"threshold": None}, {"segments": []}, {"rows": 100}])
def test_wrong_types_and_other_rows_are_damage(store: EmbeddingStore, change: dict[str, object]) -> None:
    find_groups(DuplicatesConfig(str(store.path)))
    path = groups_folder(store) / "groups.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StoreInvalid, match="delete it and run"):
        read_groups_manifest(store)
