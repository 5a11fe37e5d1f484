"""A folder of clip-retrieval is checked, reported and opened under our names, or refused with the part at fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.encoder.model_spec import ModelSpec, check_same_model
from index.errors import BadInput, ImagesNotLocal, ModelMismatch, OutputExists, StoreInvalid
from index.store.adopt import adopt_store
from index.store.compact import compact_store
from index.store.embedding_store import EmbeddingStore
from index.store.forget import forget_rows
from index.store.read_image import read_image
from index.store.store_manifest import read_manifest, write_manifest
from tests.index.foreign import change_vectors, write_foreign


def test_parts_are_ordered_as_numbers_and_the_report_says_what_was_found(tmp_path: Path) -> None:
    report = adopt_store(write_foreign(tmp_path, {0: 3, 1: 4, 10: 5, 2: 6}))
    assert (report.parts, report.rows, report.dim, report.dtype) == (4, 18, 6, "float16")
    assert (report.has_text, report.unit_length, report.parts_read) == (True, True, 4)
    assert (report.zero_rows, report.not_finite_rows, report.not_unit_rows, report.odd_vectors) == (0, 0, 0, ())
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


def test_rows_with_inf_or_nan_are_named_by_part_and_first_row_and_read_as_zeros(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 30, 1: 40})

    def spoil(vectors: np.ndarray) -> None:
        vectors[3] = 0
        vectors[4, 2] = np.inf
        vectors[20:25] = np.nan

    change_vectors(tmp_path, 1, spoil)
    report = adopt_store(tmp_path)
    assert (report.zero_rows, report.not_finite_rows, report.unit_length) == (1, 6, True)
    [odd] = report.odd_vectors
    assert (odd.part, odd.modality, odd.not_finite, odd.first_not_finite, odd.not_unit) == ("1", "image", 6, 34, 0)
    store = EmbeddingStore.open(tmp_path)
    bad = [33, 34, *range(50, 55)]
    assert np.flatnonzero(~store.gather("image", range(70)).any(axis=1)).tolist() == bad
    whole = np.concatenate([vectors for _, vectors in store.blocks("image", 16)])
    assert np.isfinite(whole).all()
    assert np.flatnonzero(~whole.any(axis=1)).tolist() == bad


def test_a_store_whose_images_are_all_nan_is_refused_under_a_true_name(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 30})
    change_vectors(tmp_path, 0, lambda vectors: vectors.fill(np.nan))
    with pytest.raises(BadInput, match="all 30 hold inf or NaN"):
        adopt_store(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_one_part_of_many_that_is_not_normalised_is_found_and_its_scores_are_cosines(tmp_path: Path) -> None:
    write_foreign(tmp_path, dict.fromkeys(range(130), 5))

    def scale(vectors: np.ndarray) -> None:
        vectors *= np.linspace(5, 30, len(vectors)).astype(vectors.dtype)[:, None]

    change_vectors(tmp_path, 1, scale)
    report = adopt_store(tmp_path)
    assert (report.unit_length, report.not_unit_rows, [each.part for each in report.odd_vectors]) == (False, 5, ["1"])
    assert report.odd_vectors[0].lengths == pytest.approx((5, 30), rel=0.01)
    store = EmbeddingStore.open(tmp_path)
    assert np.linalg.norm(store.gather("image", range(650)).astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)
    assert [part.files["image"].unit_length for part in store.parts[:3]] == [True, False, True]
    raw = store.embeddings("image", 0)
    [(_, block)] = store.blocks("image", stop=5)
    assert np.shares_memory(raw, block)  # a part of unit vectors is not copied


def test_a_few_long_rows_between_others_are_found(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 4_000}, text=False)

    def scale(vectors: np.ndarray) -> None:
        vectors[1_001:1_020] *= 20

    change_vectors(tmp_path, 0, scale)
    assert adopt_store(tmp_path).not_unit_rows == 19
    lengths = np.linalg.norm(EmbeddingStore.open(tmp_path).gather("image", range(4_000)).astype(np.float32), axis=1)
    assert lengths == pytest.approx(1, abs=2e-3)


def test_a_store_that_was_adopted_before_every_row_was_checked_still_reads_as_unit_vectors(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 30})

    def scale(vectors: np.ndarray) -> None:
        vectors[7] *= 9

    change_vectors(tmp_path, 0, scale)
    adopt_store(tmp_path)
    manifest = read_manifest(str(tmp_path))
    files = {kind: replace(file, sample=None, unit_length=None) for kind, file in manifest.parts[0].files.items()}
    sampled = replace(manifest, unit_length=True, parts=(replace(manifest.parts[0], files=files),), other_columns={})
    write_manifest(str(tmp_path), sampled)
    lengths = np.linalg.norm(EmbeddingStore.open(tmp_path).gather("image", range(30)).astype(np.float32), axis=1)
    assert lengths == pytest.approx(1, abs=2e-3)


def test_progress_counts_the_rows_of_all_vectors(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    adopt_store(write_foreign(tmp_path, {0: 30, 1: 40}), on_progress=lambda done, total: told.append((done, total)))
    assert {total for _, total in told} == {140}
    assert max(done for done, _ in told) == 140


def test_vectors_replaced_by_others_of_the_same_size_are_refused_until_the_store_is_adopted_again(
    tmp_path: Path,
) -> None:
    adopt_store(write_foreign(tmp_path, {0: 30, 1: 30}))
    before = EmbeddingStore.open(tmp_path).parts
    change_vectors(tmp_path, 1, lambda vectors: np.random.default_rng(1).shuffle(vectors))
    with pytest.raises(StoreInvalid, match=r"part 1 .*img_emb_1\.npy was replaced .*clipmine adopt"):
        EmbeddingStore.open(tmp_path)
    report = adopt_store(tmp_path)
    assert (report.replaced, report.parts_read) == (("1",), 1)
    after = EmbeddingStore.open(tmp_path).parts
    assert after[0] == before[0]
    assert after[1].files["image"].original != before[1].files["image"].original


def test_growth_reads_the_new_parts_only(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 3, 2: 4}))
    before = EmbeddingStore.open(tmp_path).parts
    report = adopt_store(write_foreign(tmp_path, {3: 5}))
    assert (report.parts, report.parts_read, report.replaced) == (3, 1, ())
    assert EmbeddingStore.open(tmp_path).parts[:2] == before


def test_adopting_again_keeps_what_compaction_recorded(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 30}))
    original = EmbeddingStore.open(tmp_path).parts[0].files["image"].original
    forget_rows(EmbeddingStore.open(tmp_path), row_ids=[4])
    compact_store(str(tmp_path))
    assert EmbeddingStore.open(tmp_path).parts[0].files["image"].original == original
    assert adopt_store(write_foreign(tmp_path, {1: 5})).replaced == ()
    assert EmbeddingStore.open(tmp_path).parts[0].files["image"].original == original


def test_a_compaction_that_was_interrupted_does_not_look_like_replaced_vectors(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 30}))
    forget_rows(EmbeddingStore.open(tmp_path), row_ids=[0])

    def erase(vectors: np.ndarray) -> None:
        vectors[0] = 0

    change_vectors(tmp_path, 0, erase)
    assert EmbeddingStore.open(tmp_path).rows == 30
    compact_store(str(tmp_path))
    assert EmbeddingStore.open(tmp_path).rows == 30


def test_adopting_growth_after_an_interrupted_compaction_leaves_an_index_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt_store(write_foreign(tmp_path, {0: 30, 1: 30}))
    before = EmbeddingStore.open(tmp_path).parts
    forget_rows(EmbeddingStore.open(tmp_path), row_ids=[4, 35])
    with monkeypatch.context() as patched:
        patched.setattr("index.store.compact.write_manifest", _die)
        with pytest.raises(KeyboardInterrupt):
            compact_store(str(tmp_path))
    assert adopt_store(write_foreign(tmp_path, {2: 5})).replaced == ()
    after = EmbeddingStore.open(tmp_path).parts
    for old, new in zip(before, after, strict=False):
        assert new.files["image"].original == old.files["image"].original
        assert new.files["metadata"].size == (tmp_path / new.files["metadata"].path).stat().st_size
    compact_store(str(tmp_path))
    assert not (tmp_path / "compacting").exists()
    # A part that is replaced is still found, though it has forgotten rows.
    change_vectors(tmp_path, 1, lambda vectors: np.random.default_rng(1).shuffle(vectors))
    assert adopt_store(tmp_path).replaced == ("1",)


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def write_table(store: Path, number: int, **columns: object) -> None:
    path = store / "metadata" / f"metadata_{number}.parquet"
    table = pq.read_table(path).drop_columns(["NSFW", "similarity"])
    for name, values in columns.items():
        table = table.append_column(name, values)
    pq.write_table(table, path)


def test_columns_that_differ_between_parts_have_one_type_and_rows_of_all_parts_are_looked_up(tmp_path: Path) -> None:
    write_foreign(tmp_path, dict.fromkeys(range(4), 2))
    write_table(tmp_path, 0, NSFW=pa.array(["UNLIKELY", "NSFW"]), similarity=pa.array([0.3, 0.4]))
    write_table(tmp_path, 1, NSFW=pa.nulls(2), similarity=pa.array([0.5, 0.25], pa.float32()))
    write_table(tmp_path, 2, NSFW=pa.array([None, "UNSURE"], pa.large_string()), similarity=pa.array(["0.3", "high"]))
    write_table(tmp_path, 3, similarity=pa.array([1, 2]), seen=pa.array([True, False]))
    report = adopt_store(tmp_path)
    assert report.other_columns == ("NSFW", "similarity", "seen")
    store = EmbeddingStore.open(tmp_path)
    rows = store.metadata([7, 0, 5, 3], ["NSFW", "similarity", "seen"]).to_pylist()
    assert [row["NSFW"] for row in rows] == [None, "UNLIKELY", "UNSURE", None]
    assert [row["similarity"] for row in rows] == ["2", "0.3", "high", "0.25"]
    assert [row["seen"] for row in rows] == [False, None, None, None]
    everything = store.metadata([7, 0, 5, 3])
    assert everything.num_rows == 4
    assert everything.schema.names[-3:] == ["NSFW", "similarity", "seen"]


def test_our_columns_are_found_under_each_parts_own_name_for_them(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 2, 1: 2})
    path = tmp_path / "metadata" / "metadata_1.parquet"
    table = pq.read_table(path)
    pq.write_table(table.rename_columns({"caption": "TEXT", "url": "URL"}), path)
    adopt_store(tmp_path)
    store = EmbeddingStore.open(tmp_path)
    found = store.metadata([0, 3], ["caption", "url"]).to_pylist()
    assert [row["caption"] for row in found] == ["caption 0 0", "caption 1 1"]
    assert found[1]["url"] == "https://example.org/1.jpg"


def test_columns_that_cannot_be_read_together_or_stand_twice_are_refused_by_name(tmp_path: Path) -> None:
    write_foreign(tmp_path, {0: 1, 1: 1})
    write_table(tmp_path, 0, box=pa.array([[1, 2]]))
    write_table(tmp_path, 1, box=pa.array([{"x": 1}]))
    with pytest.raises(
        StoreInvalid, match=r"metadata_1\.parquet: its column 'box' is struct.*metadata_0\.parquet list"
    ):
        adopt_store(tmp_path)
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["url", "url"])
    pq.write_table(twice, tmp_path / "metadata" / "metadata_1.parquet")
    with pytest.raises(StoreInvalid, match=r"metadata_1\.parquet: has the column 'url' 2 times"):
        adopt_store(tmp_path)


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
    adopt_store(write_foreign(store, {1: 2}, dim=512))  # grown, and adopted again without naming the model
    with pytest.raises(ModelMismatch, match="another pretrained"):
        check_same_model(EmbeddingStore.open(store).fingerprint, ours, "the store")
    with pytest.raises(BadInput, match=r"512 numbers, those of ViT-L-14 .* 768"):
        adopt_store(store, ModelSpec("ViT-L-14", "openai"))


def test_checksums_are_recorded_on_request_and_leave_an_index_valid(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 3}))
    before = EmbeddingStore.open(tmp_path).parts[0].files["image"]
    assert before.sha256 is None
    assert adopt_store(tmp_path, checksums=True).parts_read == 1
    after = EmbeddingStore.open(tmp_path).parts[0].files["image"]
    assert after.sha256 is not None
    assert after.original == before.original


def test_with_checksums_a_change_that_a_sample_misses_is_found(tmp_path: Path) -> None:
    adopt_store(write_foreign(tmp_path, {0: 4_000}), checksums=True)
    before = EmbeddingStore.open(tmp_path).parts[0].files["image"]

    def turn(vectors: np.ndarray) -> None:
        vectors[1_000] = -vectors[1_000]

    change_vectors(tmp_path, 0, turn)
    assert EmbeddingStore.open(tmp_path).parts[0].files["image"] == before
    assert adopt_store(tmp_path, checksums=True).replaced == ("0",)
    assert EmbeddingStore.open(tmp_path).parts[0].files["image"].original != before.original
