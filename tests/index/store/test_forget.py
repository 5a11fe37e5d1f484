"""Forgotten rows are hidden from every reader at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.read_image import read_image


@pytest.fixture
def store(small_store: EmbeddingStore, tmp_path: Path) -> EmbeddingStore:
    shutil.copytree(small_store.path, tmp_path / "store")
    return EmbeddingStore.open(tmp_path / "store")


def test_forgetting_by_key_and_row_id_takes_effect_at_once_in_open_stores(store: EmbeddingStore) -> None:
    other_reader = EmbeddingStore.open(store.path)
    report = forget_rows(store, keys=["000000003", "nobody"], row_ids=[21])
    assert (report.forgotten, report.already, report.unknown_keys) == (2, 0, ("nobody",))
    assert other_reader.forgotten.tolist() == [3, 21]
    assert not other_reader.gather("text", [3, 21]).any()
    with pytest.raises(BadInput, match="forgotten"):
        read_image(other_reader, 3)


def test_forgetting_twice_changes_nothing(store: EmbeddingStore) -> None:
    forget_rows(store, row_ids=[3, 21])
    files = sorted((store.path / "forgotten").iterdir())
    report = forget_rows(store, keys=["000000003"])
    assert (report.forgotten, report.already) == (0, 1)
    assert sorted((store.path / "forgotten").iterdir()) == files


def test_what_cannot_be_forgotten_is_bad_input(store: EmbeddingStore) -> None:
    with pytest.raises(BadInput, match="nothing to forget"):
        forget_rows(store)
    with pytest.raises(BadInput, match="rows are 0 to 32"):
        forget_rows(store, row_ids=[33])
    with pytest.raises(BadInput, match="no row with any of the 1 keys"):
        forget_rows(store, keys=["nobody"])
