"""Files of a remote store's parts are copied and checked; lists of forgotten rows are read wherever they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import fsspec
import numpy as np
import pytest

from index.errors import StoreInvalid
from index.files import as_path, read_bytes, write_atomic
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.part_files import forgotten_names, part_file, part_path, read_forgotten
from tests.retrieval.stores import make_store, random_unit


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[EmbeddingStore, EmbeddingStore]:
    """A store on a disk, and the same one in an object store."""
    monkeypatch.setenv("CLIPMINE_CACHE", str(tmp_path / "cache"))
    local = make_store(tmp_path, random_unit(40))
    url = f"memory://test_part_files/{tmp_path.name}"
    fsspec.filesystem("memory").put(str(local.path), url.removeprefix("memory:/"), recursive=True)
    return local, EmbeddingStore.open(url)


def test_a_remote_store_reads_as_a_local_one(stores: tuple[EmbeddingStore, EmbeddingStore]) -> None:
    local, remote = stores
    rows = [0, 25, 39]
    np.testing.assert_array_equal(local.gather("image", rows), remote.gather("image", rows))
    assert local.metadata(rows).equals(remote.metadata(rows))
    remote.copy_rows("image", 15, 40)
    assert not remote.is_local
    assert not remote.changed()
    forget_rows(remote, row_ids=[25])
    assert not remote.gather("image", [25]).any()
    assert EmbeddingStore.open(remote.path).forgotten.tolist() == [25]


def test_a_changed_file_is_refused_unless_compaction_may_have_changed_it(
    stores: tuple[EmbeddingStore, EmbeddingStore],
) -> None:
    local, remote = stores
    part = remote.parts[0]
    path = part_path(remote.path, part, "image")
    data = read_bytes(path)
    write_atomic(path, data[:-1] + b"x")
    with pytest.raises(StoreInvalid, match=r"^memory://.*img_emb_0000.npy: has changed"):
        part_file(remote.path, part, "image")
    forget_rows(remote, row_ids=[3])
    assert part_file(remote.path, part, "image").read_bytes() == data[:-1] + b"x"
    shutil.rmtree(local.path / "img_emb")
    assert part_file(local.path, part, "image") == local.path / part.files["image"].path


def test_a_damaged_list_of_forgotten_rows_is_named() -> None:
    store = as_path("memory://test_part_files/lists")
    assert forgotten_names(store) == []
    assert not len(read_forgotten(store, []))
    write_atomic(store / "forgotten/a.npy", b"no list")
    with pytest.raises(StoreInvalid, match=r"^memory://.*forgotten/a.npy: this list of forgotten rows is damaged"):
        read_forgotten(store, forgotten_names(store))
