"""An index's manifest reads back as written or is refused; a shard with a damaged marker is not finished."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from index.errors import StoreInvalid
from index.graph.hnsw import HnswSpec
from index.graph.index_manifest import (
    IndexManifest,
    ShardFile,
    ShardRecord,
    forgotten_hash,
    forgotten_rows,
    index_folder,
    read_index_manifest,
    read_markers,
    remove_other_shards,
    source_hash,
    stored_hash,
    write_index_manifest,
    write_marker,
)
from index.graph.recall_contract import CurvePoint, RecallContract, Stratum
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.store_manifest import read_manifest, write_manifest
from tests.index.vectors import clustered, vector_store
from tests.retrieval.stores import forget

NAME = "0123456789abcdef"
FILES = {end: ShardFile(f"{NAME}.{end}", 4_096, "0" * 64) for end in ("faiss", "skipped.npy", "copies.npy")}
RECORD = ShardRecord(3, 900, 100, 98, 5, 1, "source", "stored", "recipe", NAME * 4, FILES)
CURVE = (CurvePoint(16, 0.91, 0.8), CurvePoint(32, 0.96, 0.8))
CONTRACT = RecallContract(
    0.95, True, 32, "text", 990, 1_000, 0, (10, 100), CURVE, (Stratum("beside crowds", 200, (0.4, 0.96)),), 7
)
MANIFEST = IndexManifest(
    modality="image",
    dim=32,
    rows=1_000,
    model={"name": "x"},
    spec=HnswSpec(),
    shard_rows=900,
    add_rows=65_536,
    memory=10**9,
    faiss="1.15.1",
    forgotten="",
    shards=(replace(RECORD, number=0), replace(RECORD, number=1)),
    recall=CONTRACT,
)


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    assert read_index_manifest(tmp_path) is None
    write_index_manifest(tmp_path, MANIFEST)
    assert read_index_manifest(tmp_path) == MANIFEST
    assert MANIFEST.size == 2 * 4_096


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "clipmine-index", "version": 3}'])
def test_a_damaged_manifest_says_what_to_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(StoreInvalid, match=r"index\.json: is damaged .*run `clipmine index` again"):
        read_index_manifest(tmp_path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("rows",), "1000"),
        (("dim",), -32),
        (("memory",), 10**30),
        (("spec", "M"), 1),
        (("shards", 0, "first_row"), None),
        (("shards", 1, "number"), 0),
        (("shards", 0, "files"), {}),
        (("shards", 0, "files", "faiss", "size"), "4096"),
        (("recall", "visits"), {"margins": {"at_10": None, "at_100": 3}, "share": 0.5, "curve": []}),
        (("recall", "visits"), {"margins": None, "share": "half", "curve": []}),
        (("layout",), {"centroids": {"name": "a", "size": 1, "sha256": "0"}, "groupings": []}),
    ],
)
def test_wrong_types_and_numbers_are_damage(tmp_path: Path, place: tuple[str | int, ...], value: object) -> None:
    write_index_manifest(tmp_path, MANIFEST)
    path = tmp_path / "index.json"
    plain = json.loads(path.read_text())
    at = plain
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    path.write_text(json.dumps(plain))
    with pytest.raises(StoreInvalid, match=r"is damaged .*; run `clipmine index` again"):
        read_index_manifest(tmp_path)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    write_index_manifest(tmp_path, MANIFEST)
    plain = json.loads((tmp_path / "index.json").read_text()) | {"version": 2}
    (tmp_path / "index.json").write_text(json.dumps(plain))
    with pytest.raises(StoreInvalid, match="another version"):
        read_index_manifest(tmp_path)


def test_a_changed_number_is_noticed_and_manifests_without_a_checksum_are_read(tmp_path: Path) -> None:
    write_index_manifest(tmp_path, MANIFEST)
    plain = json.loads((tmp_path / "index.json").read_text())
    plain["recall"]["ef_search"] = 16
    (tmp_path / "index.json").write_text(json.dumps(plain))
    with pytest.raises(StoreInvalid, match="its checksum is another"):
        read_index_manifest(tmp_path)
    del plain["checksum"]
    (tmp_path / "index.json").write_text(json.dumps(plain))
    assert read_index_manifest(tmp_path) == replace(MANIFEST, recall=replace(CONTRACT, ef_search=16))


def test_a_shard_is_finished_once_its_marker_can_be_read(tmp_path: Path) -> None:
    assert read_markers(tmp_path) == []
    write_marker(tmp_path, RECORD)
    write_index_manifest(tmp_path, MANIFEST)  # no marker
    assert read_markers(tmp_path) == [RECORD]
    whole = (tmp_path / f"{NAME}.json").read_text()
    for text in (
        "{",
        '{"number": 3}',
        whole.replace(NAME, NAME[::-1]),
    ):  # cut off, older, of another shard
        (tmp_path / f"{NAME}.json").write_text(text)
        assert read_markers(tmp_path) == []


def test_only_the_files_of_other_shards_are_removed(tmp_path: Path) -> None:
    others = ["f" * 16 + ".faiss", "f" * 16 + ".crowds.npy", "f" * 16 + ".json", "shard_0000.faiss", "shard_0012.json"]
    kept = [*(file.name for file in RECORD.files.values()), f"{NAME}.json", "index.json", "notes.txt"]
    for name in others + kept:
        (tmp_path / name).write_text("x")
    remove_other_shards(tmp_path, [RECORD])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_shards_files_have_one_name() -> None:
    assert RECORD.name == NAME
    assert RECORD.file == f"{NAME}.faiss"
    assert RECORD.size == 4_096


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


def test_compaction_changes_what_is_stored_and_not_the_source(tmp_path: Path) -> None:
    store = vector_store(tmp_path, clustered(60)[0], parts=3)
    forget(store, [25, 59])
    source = [source_hash(store, "image", first, 15) for first in range(0, 60, 15)]
    stored = [stored_hash(store, "image", first, 15) for first in range(0, 60, 15)]
    compact_store(str(store.path))
    store = EmbeddingStore.open(store.path)
    assert [source_hash(store, "image", first, 15) for first in range(0, 60, 15)] == source
    after = [stored_hash(store, "image", first, 15) for first in range(0, 60, 15)]
    # Parts have 20 rows: rows 15-29 and 30-44 share the part of row 25.
    assert [old == new for old, new in zip(stored, after, strict=True)] == [True, False, False, False]
    assert forgotten_rows(store, 15, 15).tolist() == [25]
    hashes = [forgotten_hash(store, first, 15) for first in range(0, 60, 15)]
    assert (hashes[0], hashes[2]) == ("", "")
    assert len(set(hashes)) == 3
