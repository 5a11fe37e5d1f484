"""Vectors and metadata are read by row id across parts, and files that disagree are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput, StoreInvalid
from index.store import embedding_store
from index.store.embedding_store import EmbeddingStore, Modality
from index.store.metadata import METADATA_SCHEMA, parquet_bytes
from index.store.store_manifest import FileRecord, Manifest, Part, part_paths, write_manifest

DIM = 8
COUNTS = (5, 0, 7, 2500, 3)


def write_store(folder: Path, counts: tuple[int, ...] = COUNTS, unit_length: bool = True, scale: float = 1.0) -> Path:
    """A store of random unit vectors (times `scale`); row r has the key `k<r>`."""
    chance = np.random.default_rng(0)
    parts, first_row = [], 0
    for number, rows in enumerate(counts):
        vectors = chance.normal(size=(rows, DIM))
        vectors *= scale / np.linalg.norm(vectors, axis=1, keepdims=True)
        keys = [f"k{row}" for row in range(first_row, first_row + rows)]
        table = pa.table(
            {
                name: keys if name == "key" else pa.nulls(rows, METADATA_SCHEMA.field(name).type)
                for name in METADATA_SCHEMA.names
            },
            schema=METADATA_SCHEMA,
        )
        files = {}
        for kind in ("image", "text", "metadata"):
            path = folder / part_paths(number)[kind]
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "metadata":
                path.write_bytes(parquet_bytes(table))
            else:
                np.save(path, (vectors if kind == "image" else -vectors).astype(np.float16))
            files[kind] = FileRecord(str(path.relative_to(folder)), path.stat().st_size, None)
        parts.append(Part(f"{number:04d}", first_row, rows, rows, files))
        first_row += rows
    write_manifest(str(folder), Manifest("embedded", DIM, "float16", unit_length, {"name": "x"}, None, tuple(parts)))
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingStore:
    return EmbeddingStore.open(write_store(tmp_path_factory.mktemp("many_parts")))


@pytest.fixture
def own_store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", counts=(5, 7))


def all_vectors(store: EmbeddingStore) -> np.ndarray:
    return np.concatenate([np.asarray(store.embeddings("image", part)) for part in range(len(store.parts))])


def test_row_ids_run_through_the_parts_in_order(store: EmbeddingStore) -> None:
    assert (store.rows, store.dim, store.has_text) == (sum(COUNTS), DIM, True)
    assert [part.first_row for part in store.parts] == [0, 5, 5, 12, 2512]
    keys = [key for _, table in store.iter_metadata(["key"]) for key in table["key"].to_pylist()]
    assert keys == [f"k{row}" for row in range(store.rows)]


@pytest.mark.parametrize("size", [1, 6, 1000, 10_000])
def test_blocks_hold_every_row_once_whatever_their_size(store: EmbeddingStore, size: int) -> None:
    blocks = list(store.blocks("image", size))
    assert [first for first, _ in blocks] == list(range(0, store.rows, size))
    assert np.array_equal(np.concatenate([block for _, block in blocks]), all_vectors(store))
    [(first, block)] = store.blocks("text", size=100, start=3, stop=20)
    assert first == 3
    assert np.array_equal(block, -all_vectors(store)[3:20])


def test_gather_and_metadata_keep_the_order_asked_for(store: EmbeddingStore) -> None:
    ids = np.random.default_rng(1).integers(0, store.rows, 500)  # with repeats
    assert np.array_equal(store.gather("image", ids), all_vectors(store)[ids])
    table = store.metadata(ids, ["caption", "key"])
    assert table.column_names == ["caption", "key"]
    assert table["key"].to_pylist() == [f"k{row}" for row in ids]


def test_no_rows_give_empty_answers_with_the_right_columns(store: EmbeddingStore) -> None:
    assert store.gather("image", []).shape == (0, DIM)
    assert store.metadata([]).schema.names == METADATA_SCHEMA.names


def test_what_is_not_there_is_named(store: EmbeddingStore) -> None:
    with pytest.raises(BadInput, match="no row 2515"):
        store.gather("image", [0, 2515])
    with pytest.raises(BadInput, match="no row -1"):
        store.metadata([-1])
    with pytest.raises(BadInput, match="no metadata column 'colour'"):
        store.metadata([0], ["colour"])
    with pytest.raises(BadInput, match="modality 'audio'"):
        store.gather("audio", [0])  # type: ignore[arg-type]


def test_forgotten_rows_read_as_zeros_and_nulls_at_once(own_store: Path) -> None:
    store = EmbeddingStore.open(own_store)
    before = store.gather("image", [3, 6])
    assert before.any(axis=1).all()
    (own_store / "forgotten").mkdir()
    np.save(own_store / "forgotten" / "a.npy", np.array([6, 3]))
    assert store.forgotten.tolist() == [3, 6]
    assert not store.gather("image", [3, 6]).any()
    assert store.metadata([2, 3, 6], ["key"])["key"].to_pylist() == ["k2", None, None]
    [(_, block)] = store.blocks("image")
    assert np.flatnonzero(~block.any(axis=1)).tolist() == [3, 6]
    keys = [key for _, table in store.iter_metadata(["key"]) for key in table["key"].to_pylist()]
    assert keys.count(None) == 2
    np.save(own_store / "forgotten" / "b.npy", np.array([0]))
    assert store.is_forgotten([0, 1, 6]).tolist() == [True, False, True]


def test_a_damaged_list_of_forgotten_rows_is_an_error_and_never_ignored(own_store: Path) -> None:
    (own_store / "forgotten").mkdir()
    (own_store / "forgotten" / "a.npy").write_bytes(b"junk")
    with pytest.raises(StoreInvalid, match="forgotten rows is damaged"):
        _ = EmbeddingStore.open(own_store).forgotten


def test_vectors_that_are_not_unit_length_are_normalised_for_readers(tmp_path: Path) -> None:
    store = EmbeddingStore.open(write_store(tmp_path / "store", counts=(9,), unit_length=False, scale=7.0))
    assert np.linalg.norm(store.gather("image", range(9)).astype(np.float32), axis=1) == pytest.approx(1, abs=1e-3)
    assert np.linalg.norm(store.embeddings("image", 0).astype(np.float32), axis=1) == pytest.approx(7, abs=1e-2)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_rows_with_inf_or_nan_read_as_zeros_whatever_the_manifest_says(own_store: Path, modality: Modality) -> None:
    path = own_store / part_paths(1)[modality]
    vectors = np.load(path)
    vectors[2, 3], vectors[4] = np.inf, np.nan
    np.save(path, vectors)
    store = EmbeddingStore.open(own_store)
    assert np.flatnonzero(~store.gather(modality, range(12)).any(axis=1)).tolist() == [7, 9]
    for size in (3, 12):
        blocks = np.concatenate([block for _, block in store.blocks(modality, size)])
        assert np.flatnonzero(~blocks.any(axis=1)).tolist() == [7, 9]
        assert np.isfinite(blocks).all()


def test_files_are_read_again_after_their_memory_maps_were_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_store, "OPEN_MAPS", 3)
    store = EmbeddingStore.open(write_store(tmp_path / "store", counts=(2,) * 20))
    ids = np.random.default_rng(0).permutation(40)
    first = store.gather("image", ids)
    assert np.array_equal(store.gather("image", ids[:5]), first[:5])
    headers = len(store._headers)
    assert np.array_equal(store.gather("image", ids), first)
    assert np.array_equal(first, all_vectors(store)[ids])
    assert len(store._headers) == headers  # no file's header was read twice


@pytest.mark.parametrize("kind", ["image", "text", "metadata"])
def test_counts_that_disagree_are_an_error_that_names_the_part(own_store: Path, kind: str) -> None:
    path = own_store / part_paths(1)[kind]
    if kind == "metadata":
        pq.write_table(pq.read_table(path).slice(0, 6), path)
    else:
        np.save(path, np.load(path)[:6])
    with pytest.raises(StoreInvalid, match=r"part 0001 .*6"):
        EmbeddingStore.open(own_store)


def test_missing_cut_and_pickled_files_are_an_error_that_names_the_part(own_store: Path) -> None:
    path = own_store / part_paths(1)["image"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(StoreInvalid, match=r"part 0001 .*img_emb_0001\.npy"):
        EmbeddingStore.open(own_store)
    np.save(path, np.array([{"run": "me"}], dtype=object), allow_pickle=True)
    with pytest.raises(StoreInvalid, match=r"part 0001 .*img_emb_0001\.npy"):
        EmbeddingStore.open(own_store)
    path.unlink()
    with pytest.raises(StoreInvalid, match=r"part 0001 .*is missing"):
        EmbeddingStore.open(own_store)


def test_a_store_of_many_parts_finds_a_broken_one_when_it_is_touched(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store", counts=(2,) * 300)
    (folder / part_paths(250)["image"]).unlink()
    store = EmbeddingStore.open(folder)
    assert len(store.gather("image", [0, 599])) == 2
    with pytest.raises(StoreInvalid, match=r"img_emb_0250\.npy: is missing"):
        store.gather("image", [500])


def test_a_store_of_forty_thousand_parts_opens_without_touching_their_files(tmp_path: Path) -> None:
    parts = []
    for number in range(40_000):
        files = {kind: FileRecord(path, 1, "0" * 64) for kind, path in part_paths(number).items()}
        parts.append(Part(f"{number:04d}", number * 10_000, 10_000, 10_000, files))
    write_manifest(str(tmp_path), Manifest("embedded", DIM, "float16", True, {"name": "x"}, None, tuple(parts)))
    assert EmbeddingStore.open(tmp_path).rows == 400_000_000


def test_a_store_without_text_says_that_it_cannot_answer_text_against_text(own_store: Path) -> None:
    from dataclasses import replace

    from index.store.store_manifest import read_manifest

    manifest = read_manifest(str(own_store))
    parts = [replace(p, files={k: f for k, f in p.files.items() if k != "text"}) for p in manifest.parts]
    write_manifest(str(own_store), replace(manifest, parts=tuple(parts)))
    store = EmbeddingStore.open(own_store)
    assert not store.has_text
    with pytest.raises(BadInput, match="T2T"):
        store.gather("text", [0])


def test_a_manifest_cannot_lead_out_of_its_store(own_store: Path) -> None:
    path = own_store / "manifest.json"
    path.write_text(path.read_text().replace("img_emb/img_emb_0000.npy", "../other/img_emb_0000.npy"))
    with pytest.raises(BadInput, match="leaves its folder"):
        EmbeddingStore.open(own_store)


def test_the_class_is_imported_from_its_package_when_it_is_needed() -> None:
    code = "import sys, index.store; light = 'numpy' not in sys.modules; from index.store import EmbeddingStore; "
    code += "print(light, EmbeddingStore.__module__)"
    root = Path(__file__).parents[3]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "index.store.embedding_store"]
    with pytest.raises(ImportError, match="Store2"):
        from index.store import Store2  # noqa: F401
