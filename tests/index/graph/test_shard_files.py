"""A shard's file that is missing, cut off or changed is named, with the command that builds it again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from index.errors import StoreInvalid
from index.graph import shard_files
from index.graph.build import IndexConfig
from index.graph.index_manifest import ShardRecord, index_folder, read_index_manifest, read_markers
from index.graph.shard_files import check_files, damage, drop_damaged
from index.store.embedding_store import EmbeddingStore
from tests.index.vectors import build, clustered, vector_store


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    store = vector_store(tmp_path_factory.mktemp("built"), clustered(400)[0])
    build(IndexConfig(str(store.path), "image", shard_rows=250, queries=20))
    return store


@pytest.fixture
def store(built: EmbeddingStore, tmp_path: Path) -> EmbeddingStore:
    shutil.copytree(built.path, tmp_path / "store")
    return EmbeddingStore.open(tmp_path / "store")


def _shards(store: EmbeddingStore) -> tuple[ShardRecord, ...]:
    manifest = read_index_manifest(index_folder(store, "image"))
    assert manifest is not None
    return manifest.shards


@pytest.mark.parametrize("end", ["faiss", "skipped.npy", "copies.npy"])
def test_every_file_of_a_shard_is_checked(store: EmbeddingStore, end: str) -> None:
    folder, shard = index_folder(store, "image"), _shards(store)[1]
    file = shard.files[end]
    path, data = folder / file.name, (folder / file.name).read_bytes()
    assert damage(folder, file, checksums=True) is None
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert damage(folder, file, checksums=False) is None
    assert damage(folder, file, checksums=True) == "is damaged: its content has changed since it was written"
    path.write_bytes(data[:-1])
    assert damage(folder, file, checksums=False) == f"is damaged: it has {len(data) - 1:,} bytes, not {len(data):,}"
    path.unlink()
    assert damage(folder, file, checksums=False) == "is missing from the index"
    with pytest.raises(
        StoreInvalid,
        match=rf"{file.name}: is missing from the index; run `clipmine index {store.path} --modality image`",
    ):
        check_files(store, "image", _shards(store))
    check_files(store, "image", _shards(store)[:1])
    assert drop_damaged(folder) == 1
    assert read_markers(folder) == [_shards(store)[0]]


def test_large_indexes_are_read_when_it_is_asked_for(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = index_folder(store, "image") / _shards(store)[0].file
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StoreInvalid, match=r"changed since it was written; .* --checksums`, which builds"):
        check_files(store, "image", _shards(store))
    monkeypatch.setattr(shard_files, "CHECKED_AT_OPEN", 1_000)
    check_files(store, "image", _shards(store))
    with pytest.raises(StoreInvalid, match="content has changed"):
        check_files(store, "image", _shards(store), checksums=True)
