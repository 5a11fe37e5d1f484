"""MIMIC-IT: instructions with images that are base64 texts in a file of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput
from index.files import read_bytes_range
from mining.sets.importers import export_records, write_records
from mining.sets.importers.mimic_it import parse_mimic_it, read_mimic_it
from mining.sets.importers.record import RecordRejected
from mining.sets.sources import source_folder
from tests.mining.sets.importers.made_files import base64_file, image_file, import_file, sha256

WHOLE: dict[str, dict[str, Any]] = {
    "meta": {"version": "0.0.1", "time": "2023-06", "author": "ntu"},
    "data": {
        "SD_INS_00001": {
            "instruction": "What changed?",
            "answer": "A car has left.",
            "image_ids": ["SD_IMG_1", "SD_IMG_2"],
            "rel_ins_ids": ["SD_INS_00002"],
        },
        "SD_INS_00002": {
            "instruction": "Is it <image> night?",
            "answer": "No.",
            "image_ids": ["SD_IMG_1", "SD_IMG_2"],
            "rel_ins_ids": [],
        },
        "SD_INS_00003": {"instruction": "And here?", "answer": "Yes.", "image_ids": ["SD_IMG_9"], "rel_ins_ids": []},
    },
}
IMAGES = {f"SD_IMG_{number}": base64_file(number) for number in (1, 2, 3)}


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_instructions_come_back_and_their_images_are_packed_into_tars(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "SD_instructions.json").write_text(json.dumps(WHOLE))
    if suffix == ".json":
        (tmp_path / "SD.json").write_text(json.dumps(IMAGES))
    else:
        columns = {"base64": list(IMAGES.values()), "__index_level_0__": list(IMAGES)}
        pq.write_table(pa.table(columns), tmp_path / "SD.parquet")
    images = (str(tmp_path / f"SD{suffix}"),)
    sets = import_file(tmp_path, "mimic-it", tmp_path / "SD_instructions.json", images=images)
    first, second = sets.with_annotations()
    assert [each.turns[0].parts for each in first.annotations] == [
        (0, 1, "What changed?"),
        (0, 1, "Is it <image> night?"),
    ]
    for number, member in enumerate(first.members, start=1):
        assert (member.key, member.sha256) == (f"SD_IMG_{number}", sha256(image_file(number)))
        folder = source_folder(sets.sources[member.source], sets.path)
        assert folder == str(tmp_path / "pairs" / "images")
        assert member.offset is not None
        assert member.bytes is not None
        assert read_bytes_range(f"{folder}/{member.shard}", member.offset, member.bytes) == image_file(number)
    assert second.members[0].sha256 is None
    said = sets.manifest["import"]
    assert (said["images_named"], said["images_found"], said["images_not_found"]) == (3, 2, {"missing": 1})
    assert [{"id": name, **value} for name, value in WHOLE["data"].items()] == export_records(sets)[
        "SD_instructions.json"
    ]
    assert write_records(sets, str(tmp_path / "again.json")) == 3
    assert json.loads((tmp_path / "again.json").read_text()) == WHOLE


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "broken JSON"), ("[]", "is no instruction file"), ('{"data": []}', "is no instruction file")],
)
def test_another_file_is_an_error_of_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(BadInput, match=message):
        read_mimic_it(str(tmp_path / "x.json"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": "1"}, r"lacks a field \(instruction, answer, image_ids\)"),
        ({"id": "1", "instruction": "a", "answer": "b", "image_ids": "c"}, "image_ids is not a list of texts"),
        ({"id": "1", "instruction": None, "answer": "b", "image_ids": []}, "instruction is NoneType"),
    ],
)
def test_what_is_no_instruction_is_rejected(record: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordRejected, match=message):
        parse_mimic_it(record)
