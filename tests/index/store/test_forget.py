"""Forgotten rows are hidden from every reader at once, and compaction overwrites their bytes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from index.encoder.model_spec import ModelSpec
from index.errors import BadInput
from index.store.adopt import adopt_store
from index.store.embed_item import EmbedConfig
from index.store.embedding_store import EmbeddingStore, verify_checksums
from index.store.forget import compact_store, forget_rows
from index.store.read_image import read_image
from index.store.store_manifest import part_paths
from tests.conftest import embed_store
from tests.index.store.test_adopt import write_foreign


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


def test_compaction_wipes_the_files_and_keeps_counts_ids_and_checksums(store: EmbeddingStore) -> None:
    forget_rows(store, row_ids=[3, 19, 21])
    before = store.metadata(np.arange(store.rows), ["key", "captions"]).to_pylist()
    vectors = store.gather("image", np.arange(store.rows))
    report = compact_store(str(store.path))
    assert (report.rows, report.parts) == (3, 2)
    after = EmbeddingStore.open(store.path)
    assert verify_checksums(after) == 0
    assert after.metadata(np.arange(after.rows), ["key", "captions"]).to_pylist() == before
    assert np.array_equal(after.gather("image", np.arange(after.rows)), vectors)
    raw = np.load(after.part_file(0, "text"))
    assert np.flatnonzero(~raw.any(axis=1)).tolist() == [3, 19]
    table = pq.read_table(after.part_file(0, "metadata"))
    assert table.num_rows == 20
    assert all(value is None for value in table.slice(3, 1).to_pylist()[0].values())
    assert b"000000003" not in after.part_file(0, "metadata").read_bytes()


def test_compacting_again_or_after_an_interruption_ends_in_the_same_bytes(
    store: EmbeddingStore, tmp_path: Path
) -> None:
    forget_rows(store, row_ids=[3, 21])
    shutil.copytree(store.path, tmp_path / "interrupted")
    compact_store(str(store.path))
    # As if it had been killed after the first part's metadata: the manifest still has the old checksum.
    wiped = part_paths(0)["metadata"]
    shutil.copy(store.path / wiped, tmp_path / "interrupted" / wiped)
    compact_store(str(tmp_path / "interrupted"))
    compact_store(str(store.path))
    for path in sorted(store.path.rglob("*.*")):
        if path.is_file():
            assert (tmp_path / "interrupted" / path.relative_to(store.path)).read_bytes() == path.read_bytes()


def test_a_compacted_store_is_not_embedded_again(small_corpus: Path, tiny_clip_dir: Path, tmp_path: Path) -> None:
    config = EmbedConfig(
        str(small_corpus), str(tmp_path / "s"), ModelSpec(model_dir=str(tiny_clip_dir)), batch_size=8, device="cpu"
    )
    store = embed_store(config)
    forget_rows(store, row_ids=[3])
    compact_store(config.out)
    wiped = store.part_file(0, "image").read_bytes()
    assert embed_store(config).rows == store.rows
    assert store.part_file(0, "image").read_bytes() == wiped


def test_a_foreign_store_can_be_compacted_too(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 3, 1: 4}))
    forget_rows(EmbeddingStore.open(tmp_path), keys=["1/2"])
    compact_store(str(tmp_path))
    store = EmbeddingStore.open(tmp_path)
    assert store.rows == 7
    assert store.metadata([4, 5], ["caption", "NSFW"]).to_pylist() == [
        {"caption": "caption 1 1", "NSFW": "UNLIKELY"},
        {"caption": None, "NSFW": None},
    ]


def test_a_store_with_nothing_forgotten_has_nothing_to_compact(store: EmbeddingStore) -> None:
    assert compact_store(str(store.path)).rows == 0
