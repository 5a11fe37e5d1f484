"""A manifest reads back as it was written, and a missing or damaged one says why and what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from index.errors import StoreInvalid
from index.store.store_manifest import FileRecord, Manifest, Origin, Part, part_paths, read_manifest, write_manifest


def manifest_of(counts: list[int]) -> Manifest:
    parts, first_row = [], 0
    for number, rows in enumerate(counts):
        files = {kind: FileRecord(path, 10, "0" * 64) for kind, path in part_paths(number).items()}
        parts.append(Part(f"{number:04d}", first_row, rows, rows + 1, files))
        first_row += rows
    return Manifest("embedded", 4, "float16", True, {"name": "x"}, "/corpus", tuple(parts), config={"batch_size": 8})


def test_a_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = manifest_of([3, 0, 5])
    write_manifest(str(tmp_path), manifest)
    assert read_manifest(str(tmp_path)) == manifest
    assert (manifest.rows, manifest.has_text) == (8, True)


def test_equal_manifests_have_equal_bytes_and_one_line_a_part(tmp_path: Path) -> None:
    assert manifest_of([3, 5]).to_json() == manifest_of([3, 5]).to_json()
    assert sum('"metadata"' in line for line in manifest_of([3, 5]).to_json().splitlines()) == 2


def test_a_file_that_was_compacted_keeps_its_original_checksum(tmp_path: Path) -> None:
    manifest = manifest_of([3, 5])
    assert '"origin"' not in manifest.to_json()
    record = FileRecord("img_emb/img_emb_0000.npy", 10, "1" * 64, Origin(12, None))
    assert FileRecord.from_json(record.to_json()) == record
    parts = (replace(manifest.parts[0], files={**manifest.parts[0].files, "image": record}), manifest.parts[1])
    write_manifest(str(tmp_path), replace(manifest, parts=parts))
    back = read_manifest(str(tmp_path)).parts
    assert back == parts
    assert [part.files["image"].original for part in back] == [Origin(12, None), Origin(10, "0" * 64)]


def test_what_adoption_found_out_reads_back_and_costs_other_stores_nothing(tmp_path: Path) -> None:
    plain = manifest_of([3])
    assert all(name not in plain.to_json() for name in ('"sample"', '"origin"', '"other_columns"'))
    record = FileRecord("img_emb/img_emb_0000.npy", 10, None, sample="ab", unit_length=False)
    assert record.original == replace(record, sha256="1" * 64).original == Origin(10, "ab")
    part = replace(plain.parts[0], files={**plain.parts[0].files, "image": record})
    adopted = replace(plain, parts=(part,), unit_length=True, other_columns={"NSFW": "string"})
    write_manifest(str(tmp_path), adopted)
    assert read_manifest(str(tmp_path)) == adopted


def test_part_files_have_clip_retrievals_names_beyond_four_digits_too() -> None:
    assert part_paths(7)["image"] == "img_emb/img_emb_0007.npy"
    assert part_paths(12345)["metadata"] == "metadata/metadata_12345.parquet"


def test_a_missing_manifest_says_why_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreInvalid, match="no such store"):
        read_manifest(str(tmp_path / "nowhere"))
    with pytest.raises(StoreInvalid, match="is not an embedding store"):
        read_manifest(str(tmp_path))
    (tmp_path / "img_emb").mkdir()
    with pytest.raises(StoreInvalid, match="clipmine adopt"):
        read_manifest(str(tmp_path))
    (tmp_path / "embed.json").write_text("{}")
    with pytest.raises(StoreInvalid, match="has not finished"):
        read_manifest(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}', '{"format": "clipmine-store", "version": 1}'])
def test_a_damaged_manifest_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StoreInvalid, match=r"manifest\.json"):
        read_manifest(str(tmp_path))


def test_a_manifest_of_a_later_version_is_refused(tmp_path: Path) -> None:
    plain = json.loads(manifest_of([1]).to_json()) | {"version": 99}
    (tmp_path / "manifest.json").write_text(json.dumps(plain))
    with pytest.raises(StoreInvalid, match="version 99"):
        read_manifest(str(tmp_path))
