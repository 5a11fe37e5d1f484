"""A store and its indexes are verified together, and a changed byte of any file is named with its remedy."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from index.duplicates.segments import DuplicatesConfig
from index.errors import StoreInvalid
from index.graph.build import IndexConfig
from index.graph.search_index import open_index
from index.store.adopt import adopt_store
from index.store.embedding_store import EmbeddingStore
from index.verify import verify_store
from tests.index.duplicates.test_segments import find_groups
from tests.index.foreign import change_vectors, write_foreign
from tests.index.vectors import build, clustered, vector_store


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 rows in 3 parts, with an index of two shards."""
    store = vector_store(tmp_path_factory.mktemp("built"), *clustered(60))
    build(IndexConfig(str(store.path), "image", shard_rows=40, queries=5))
    return store.path


@pytest.fixture
def store(built: Path, tmp_path: Path) -> EmbeddingStore:
    """A copy of the store that a test may change."""
    shutil.copytree(built, tmp_path / "store")
    return EmbeddingStore.open(tmp_path / "store")


def test_a_whole_store_with_its_index(store: EmbeddingStore) -> None:
    told: list[tuple[int, int]] = []
    report = verify_store(store.path, lambda done, total: told.append((done, total)))
    assert report.problems == ()
    assert report.files == 9 + 2 * 3
    assert told == [(done, 15) for done in range(1, 16)]
    shards = sum(file.stat().st_size for file in store.path.glob("index/image/*") if file.suffix != ".json")
    assert report.size > shards


@pytest.mark.parametrize("end", ["faiss", "skipped.npy", "copies.npy"])
def test_one_byte_of_a_shard(store: EmbeddingStore, end: str) -> None:
    file = sorted(store.path.glob(f"index/image/*.{end}"))[0]
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    [problem] = verify_store(store.path).problems
    assert (problem.file, problem.what) == (str(file), "has changed: its SHA-256 is another")
    assert f"clipmine index {store.path} --modality image" in problem.remedy
    file.write_bytes(data[:-1])
    assert "bytes instead of" in verify_store(store.path).problems[0].what
    file.unlink()
    assert "is missing" in verify_store(store.path).problems[0].what


def test_a_damaged_manifest_of_an_index_and_a_damaged_part_are_both_named(store: EmbeddingStore) -> None:
    index, vectors = store.path / "index/image/index.json", store.path / "text_emb/text_emb_0001.npy"
    index.write_text("{")
    vectors.write_bytes(b"junk")
    found = verify_store(store.path).problems
    assert [(problem.file, problem.part) for problem in found] == [
        ("text_emb/text_emb_0001.npy", "0001"),
        (str(index), None),
    ]


def test_an_index_over_other_vectors(store: EmbeddingStore) -> None:
    manifest = store.path / "manifest.json"
    record = json.loads(manifest.read_text())["parts"][0]["files"]["image"]
    path = store.path / record["path"]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    manifest.write_text(manifest.read_text().replace(record["sha256"], sha256(data).hexdigest()))
    [problem] = verify_store(store.path).problems
    assert problem.what == "was built over other vectors of rows 0 to 39"


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match="no such store"):
        verify_store(tmp_path / "nowhere")


def test_replaced_vectors_of_an_adopted_store_make_its_index_stale_and_checksums_do_not(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 40, 1: 40}, dim=16))
    build(IndexConfig(str(tmp_path), "image", queries=5))
    adopt_store(tmp_path, checksums=True)
    assert open_index(EmbeddingStore.open(tmp_path), "image").shards == 1
    change_vectors(tmp_path, 1, lambda vectors: vectors.sort(axis=0))
    with pytest.raises(StoreInvalid, match="was replaced since the store was adopted"):
        EmbeddingStore.open(tmp_path)
    assert [problem.part for problem in verify_store(tmp_path).problems] == ["1"]
    assert adopt_store(tmp_path).replaced == ("1",)
    with pytest.raises(StoreInvalid, match="clipmine index"):
        open_index(EmbeddingStore.open(tmp_path), "image")
    [problem] = verify_store(tmp_path).problems
    assert problem.what == "was built over other vectors of rows 0 to 79"
    build(IndexConfig(str(tmp_path), "image", queries=5))
    assert verify_store(tmp_path).problems == ()


def test_the_graph_of_a_store_that_is_not_normalised_finds_what_true_cosines_find(tmp_path: Path) -> None:
    write_foreign(tmp_path, dict.fromkeys(range(4), 100), dim=16)
    change_vectors(tmp_path, 1, lambda vectors: np.multiply(vectors, 20, out=vectors))
    change_vectors(tmp_path, 2, lambda vectors: vectors[5].fill(np.inf))
    adopt_store(tmp_path)
    build(IndexConfig(str(tmp_path), "image", queries=20, shard_rows=250))
    store = EmbeddingStore.open(tmp_path)
    vectors = np.concatenate([np.load(tmp_path / f"img_emb/img_emb_{part}.npy") for part in range(4)]).astype(
        np.float64
    )
    vectors[205] = 0
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    queries = vectors[::20].astype(np.float32)
    scores, ids = open_index(store, "image").search(queries, 10)
    true = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    assert np.mean([len(set(one) & set(other)) / 10 for one, other in zip(ids, true, strict=True)]) > 0.95
    assert scores.max() < 1.005
    assert not (ids == 205).any()


def test_near_duplicate_groups_are_read_too(store: EmbeddingStore) -> None:
    find_groups(DuplicatesConfig(str(store.path)))
    assert verify_store(store.path).problems == ()
    [edges] = store.path.glob("near_duplicates/*.edges.npy")
    [column] = store.path.glob("near_duplicates/*.groups.npy")
    again = f"clipmine duplicates {store.path}"
    column.write_bytes(bytes(len(column.read_bytes())))
    edges.unlink()
    assert [(each.file, each.remedy) for each in verify_store(store.path).problems] == [
        (str(column), f"delete it, then {again}"),
        (str(edges), again),
    ]
    column.unlink()
    find_groups(DuplicatesConfig(str(store.path)))
    assert verify_store(store.path).problems == ()
    groups = store.path / "near_duplicates" / "groups.json"
    plain = json.loads(groups.read_text())
    groups.write_text("{")
    [problem] = verify_store(store.path).problems
    assert (problem.file, problem.remedy) == (str(groups), again)
    plain["segments"][0]["until"] = plain["rows"] = 59
    groups.write_text(json.dumps(plain))
    [problem] = verify_store(store.path).problems
    assert (problem.file, problem.what) == (str(groups.parent), "was made from other vectors")
