"""An index's manifest reads back as written or is refused; a shard with a damaged marker is not finished."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from index.errors import StoreInvalid
from index.graph.hnsw import HnswSpec
from index.graph.index_manifest import (
    CurvePoint,
    IndexManifest,
    RecallContract,
    ShardRecord,
    index_folder,
    read_index_manifest,
    read_marker,
    source_hash,
    write_index_manifest,
    write_marker,
)
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import read_manifest, write_manifest
from tests.index.vectors import clustered, vector_store

RECORD = ShardRecord(3, 900, 100, 98, 5, 4_096, "0" * 64, "source", "build")
CURVE = (CurvePoint(16, 0.91, 0.8), CurvePoint(32, 0.96, 0.8))
CONTRACT = RecallContract(0.95, True, 32, "text", 990, 1_000, 0, (10, 100), CURVE)
MANIFEST = IndexManifest(
    "image", 32, 1_000, {"name": "x"}, HnswSpec(), 900, 65_536, "1.15.1", (RECORD, replace(RECORD, number=4)), CONTRACT
)


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_index_manifest(tmp_path) is None
    write_index_manifest(tmp_path, MANIFEST)
    assert read_index_manifest(tmp_path) == MANIFEST
    assert MANIFEST.size == 2 * 4_096


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "clipmine-index", "version": 2}'])
def test_a_damaged_manifest_says_what_to_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(StoreInvalid, match=r"index\.json: is damaged .*run `clipmine index` again"):
        read_index_manifest(tmp_path)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    write_index_manifest(tmp_path, MANIFEST)
    plain = json.loads((tmp_path / "index.json").read_text()) | {"version": 1}
    (tmp_path / "index.json").write_text(json.dumps(plain))
    with pytest.raises(StoreInvalid, match="another version"):
        read_index_manifest(tmp_path)


def test_a_shard_is_finished_once_its_marker_can_be_read(tmp_path: Path) -> None:
    assert read_marker(tmp_path, 3) is None
    write_marker(tmp_path, RECORD)
    assert read_marker(tmp_path, 3) == RECORD
    for text in ("{", '{"number": 3}'):  # cut off, or of an older format
        (tmp_path / "shard_0003.json").write_text(text)
        assert read_marker(tmp_path, 3) is None


def test_a_shards_files_are_named_by_its_number() -> None:
    assert RECORD.file == "shard_0003.faiss"
    assert RECORD.skipped_file == "shard_0003.skipped.npy"
    assert RECORD.copies_file == "shard_0003.copies.npy"


def test_the_source_hash_changes_with_the_vectors_of_its_rows_alone(tmp_path: Path) -> None:
    store = vector_store(tmp_path, clustered(60)[0], parts=3)
    assert index_folder(store, "image") == store.path / "index" / "image"
    before = [source_hash(store, "image", first, 20) for first in (0, 20, 40)]
    assert len(set(before)) == 3
    assert source_hash(store, "image", 10, 20) not in before  # rows of two parts
    manifest = read_manifest(str(store.path))
    parts = list(manifest.parts)
    files = {**parts[1].files, "image": replace(parts[1].files["image"], sha256="1" * 64)}
    parts[1] = replace(parts[1], files=files)
    write_manifest(str(store.path), replace(manifest, parts=tuple(parts)))
    changed = EmbeddingStore.open(store.path)
    after = [source_hash(changed, "image", first, 20) for first in (0, 20, 40)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_the_contract_as_one_line() -> None:
    line = "recall@10 0.960 at efSearch 32 on 990 captions against exact search (asked 0.95)"
    assert CONTRACT.sentence() == line
    assert "no efSearch measured reaches it" in replace(CONTRACT, met=False).sentence()
    asked_with_images = replace(CONTRACT, query_modality="image").sentence()
    assert "990 images as queries" in asked_with_images
    assert "says nothing about text queries" in asked_with_images
