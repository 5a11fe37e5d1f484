"""A folder of clip-retrieval is checked, reported and opened under our names, or refused with the part at fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.encoder.model_spec import ModelSpec, check_same_model
from index.errors import BadInput, ImagesNotLocal, ModelMismatch, OutputExists, StoreInvalid
from index.store.adopt import adopt_store
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image


def write_foreign(
    folder: Path,
    counts: dict[int, int],
    digits: int = 1,
    dtype: str = "float16",
    dim: int = 6,
    scale: float = 1.0,
    text: bool = True,
) -> Path:
    """What clip-retrieval's inference leaves: part number -> rows; captions say part and position."""
    chance = np.random.default_rng(0)
    for name in ("img_emb", "text_emb", "metadata"):
        if text or name != "text_emb":
            (folder / name).mkdir(parents=True, exist_ok=True)
    for number, rows in counts.items():
        vectors = chance.normal(size=(rows, dim))
        vectors *= scale / np.linalg.norm(vectors, axis=1, keepdims=True)
        for name in ("img_emb", "text_emb") if text else ("img_emb",):
            np.save(folder / name / f"{name}_{number:0{digits}d}.npy", vectors.astype(dtype))
        columns = {
            "image_path": [f"{number}/{position}" for position in range(rows)],
            "caption": [f"caption {number} {position}" for position in range(rows)],
            "NSFW": ["UNLIKELY"] * rows,
            "similarity": [0.3] * rows,
            "url": [f"https://example.org/{position}.jpg" for position in range(rows)],
            "width": [640.0] * rows,
        }
        pq.write_table(pa.table(columns), folder / "metadata" / f"metadata_{number:0{digits}d}.parquet")
    return folder


def test_parts_are_ordered_as_numbers_and_the_report_says_what_was_found(tmp_path: Path) -> None:
    report = adopt_store(write_foreign(tmp_path, {0: 3, 1: 4, 10: 5, 2: 6}))
    assert (report.parts, report.rows, report.dim, report.dtype) == (4, 18, 6, "float16")
    assert (report.has_text, report.unit_length, report.without_direction) == (True, True, 0)
    assert report.missing_numbers == (3, 4, 5, 6, 7, 8, 9)
    assert dict(report.columns) == {"key": "image_path", "caption": "caption", "url": "url", "width": "width"}
    assert report.other_columns == ("NSFW", "similarity")
    store = EmbeddingStore.open(tmp_path)
    assert [part.name for part in store.parts] == ["0", "1", "2", "10"]
    assert store.metadata([3, 13], ["caption"])["caption"].to_pylist() == ["caption 1 0", "caption 10 0"]


def test_its_columns_read_under_our_names_and_types_and_what_is_lacking_is_null(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 3}, digits=4))
    store = EmbeddingStore.open(tmp_path)
    [row] = store.metadata([1]).to_pylist()
    assert (row["key"], row["url"], row["width"]) == ("0/1", "https://example.org/1.jpg", 640)
    assert (row["offset"], row["sha256"], row["captions"]) == (None, None, None)
    assert (row["NSFW"], row["similarity"]) == ("UNLIKELY", 0.3)
    assert "image_path" not in row
    assert store.metadata([1], ["image_path", "NSFW"]).to_pylist() == [{"image_path": "0/1", "NSFW": "UNLIKELY"}]


def test_it_has_no_images_and_says_how_to_get_them(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 3}))
    with pytest.raises(ImagesNotLocal, match="clipmine fetch"):
        read_image(EmbeddingStore.open(tmp_path), 0)


def test_float32_and_other_lengths_are_read_as_unit_vectors(tmp_path: Path) -> None:
    report = adopt_store(write_foreign(tmp_path, {0: 30}, dtype="float32", scale=5.0, text=False))
    assert (report.dtype, report.unit_length, report.has_text) == ("float32", False, False)
    vectors = EmbeddingStore.open(tmp_path).gather("image", range(30))
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_rows_without_direction_are_counted(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 30})
    path = tmp_path / "img_emb" / "img_emb_0.npy"
    vectors = np.load(path)
    vectors[3], vectors[4] = 0, np.nan
    np.save(path, vectors)
    report = adopt_store(tmp_path)
    assert (report.without_direction, report.unit_length) == (2, True)


@pytest.mark.parametrize("folder", ["img_emb", "text_emb", "metadata"])
def test_counts_that_disagree_are_an_error_that_names_the_part(tmp_path: Path, folder: str) -> None:
    write_foreign(tmp_path, {0: 3, 1: 4})
    other = write_foreign(tmp_path / "other", {1: 9}) / folder
    [file] = other.iterdir()
    file.replace(tmp_path / folder / file.name)
    with pytest.raises(StoreInvalid, match=r"img_emb_1\.npy.*different numbers of rows.* 9"):
        adopt_store(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_a_part_that_lacks_a_file_is_named(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 3, 1: 4})
    (tmp_path / "text_emb" / "text_emb_1.npy").unlink()
    with pytest.raises(StoreInvalid, match="part 1 has no file in text_emb"):
        adopt_store(tmp_path)


def test_dimensions_and_types_that_disagree_are_an_error(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 3})
    write_foreign(tmp_path, {1: 3}, dim=7)
    with pytest.raises(StoreInvalid, match=r"img_emb_1\.npy: holds float16 of 7, others float16 of 6"):
        adopt_store(tmp_path)


def test_two_files_of_one_number_and_unknown_names_are_errors(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 3})
    write_foreign(tmp_path, {0: 3}, digits=4)
    with pytest.raises(StoreInvalid, match="part 0 exists twice"):
        adopt_store(tmp_path)
    write_foreign(tmp_path / "b", {0: 3})
    np.save(tmp_path / "b" / "img_emb" / "part-a.npy", np.zeros((1, 6), np.float16))
    with pytest.raises(StoreInvalid, match=r"part-a\.npy: is not named like"):
        adopt_store(tmp_path / "b")


def test_pickled_arrays_are_not_opened(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 3})
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", np.array([{"run": "me"}], dtype=object), allow_pickle=True)
    with pytest.raises(StoreInvalid, match=r"img_emb_0\.npy"):
        adopt_store(tmp_path)


def test_a_folder_with_nothing_to_adopt_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        adopt_store(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="has no img_emb"):
        adopt_store(tmp_path)


def test_our_own_stores_are_not_adopted(small_store: EmbeddingStore) -> None:
    with pytest.raises(OutputExists, match="clipmine embed"):
        adopt_store(small_store.path)


def test_more_parts_at_the_end_may_be_adopted_later_and_nothing_else(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 3, 2: 4}))
    assert adopt_store(write_foreign(tmp_path, {3: 5})).rows == 12
    write_foreign(tmp_path, {1: 2})
    with pytest.raises(OutputExists, match="row ids must not change"):
        adopt_store(tmp_path)


def test_the_model_is_what_the_user_says_or_unknown(tmp_path: Path) -> None:
    store = write_foreign(tmp_path, {0: 3}, dim=512)
    adopt_store(store)
    ours = {"name": "ViT-B-32", "pretrained": "openai", "dim": 512, "weights": "abc"}
    check_same_model(EmbeddingStore.open(store).fingerprint, ours, "the store")
    adopt_store(store, ModelSpec("ViT-B-32", "laion2b-s34b-b79k"))
    with pytest.raises(ModelMismatch, match="another pretrained"):
        check_same_model(EmbeddingStore.open(store).fingerprint, ours, "the store")
    check_same_model(EmbeddingStore.open(store).fingerprint, ours | {"pretrained": "laion2b_s34b_b79k"}, "the store")
    with pytest.raises(BadInput, match=r"512 numbers, those of ViT-L-14 .* 768"):
        adopt_store(store, ModelSpec("ViT-L-14", "openai"))


def test_checksums_are_recorded_on_request(tmp_path: Path) -> None:
    from index.store.embedding_store import verify_checksums

    adopt_store(write_foreign(tmp_path, {0: 3}))
    assert verify_checksums(EmbeddingStore.open(tmp_path)) == 3
    adopt_store(tmp_path, checksums=True)
    assert verify_checksums(EmbeddingStore.open(tmp_path)) == 0
