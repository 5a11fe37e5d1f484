"""Files of conversations by number: with images in a folder or within, broken records kept in their places."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from customize.lmm.data.records import RecordSource
from customize.lmm.data.sample import LmmSample
from customize.lmm.data.skipped import SkippedSample
from customize.lmm.data.source import PlacedImage
from index.errors import BadInput, ClipmineError
from tests.customize.lmm.data.made_data import picture, write_images
from tests.retrieval.stores import jpeg


def record(number: int, **fields: Any) -> dict[str, Any]:
    turns = [
        {"from": "human", "value": f"<image>\nWhat is in image {number}?"},
        {"from": "gpt", "value": f"Picture {number}."},
    ]
    return {"id": f"r{number}", "image": f"coco/{number}.jpg", "conversations": turns, **fields}


def write_records(folder: Path, name: str = "data.json", count: int = 5) -> Path:
    write_images(folder / "photos", [f"coco/{number}.jpg" for number in range(count)])
    records = [record(number) for number in range(count)]
    path = folder / name
    if name.endswith(".json"):
        path.write_text(json.dumps(records))
    elif name.endswith(".jsonl"):
        path.write_text("".join(json.dumps(each) + "\n" for each in records))
    else:
        pq.write_table(pa.Table.from_pylist(records), path)
    return path


def read(source: RecordSource, *numbers: int) -> list[LmmSample | SkippedSample]:
    return list(source.read(np.array(numbers or range(len(source)), np.int64)))


@pytest.mark.parametrize("name", ["data.json", "data.jsonl", "data.parquet"])
def test_samples_are_read_by_number_in_any_order(tmp_path: Path, name: str) -> None:
    source = RecordSource(write_records(tmp_path, name), images=tmp_path / "photos")
    assert len(source) == 5
    found = read(source, 3, 0, 3)
    assert [each.sample_id for each in found] == ["r3", "r0", "r3"]
    first = found[0]
    assert isinstance(first, LmmSample)
    assert first.source == name
    assert first.turns[0].parts == (0, "\nWhat is in image 3?")
    assert first.images[0].read() == picture("coco/3.jpg")


def test_an_image_is_found_again_by_key_and_place(tmp_path: Path) -> None:
    source = RecordSource(write_records(tmp_path), images=tmp_path / "photos")
    (sample,) = read(source, 1)
    assert isinstance(sample, LmmSample)
    image = sample.images[0]
    assert isinstance(image, PlacedImage)
    again = pickle.loads(pickle.dumps(source)).image(image.key, image.place)
    assert again.key == image.key
    assert again.read() == image.read()


def test_files_within_the_records_are_images(tmp_path: Path) -> None:
    rows = [
        {
            "messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": f"{number}"}],
            "images": [{"bytes": jpeg(number), "path": None}],
        }
        for number in range(40)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "trl.parquet")
    source = RecordSource(tmp_path / "trl.parquet")
    (found,) = read(source, 37)
    assert isinstance(found, LmmSample)
    assert found.images[0].read() == jpeg(37)
    again = source.image(found.images[0].key, str(getattr(found.images[0], "place", "")))
    assert again.read() == jpeg(37)


def test_records_that_cannot_be_used_keep_their_numbers(tmp_path: Path) -> None:
    path = write_records(tmp_path, "data.jsonl", 3)
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:-9]
    lines += [json.dumps(record(9)), json.dumps({"caption": "x"}), json.dumps(record(0, image="../secret.jpg"))]
    path.write_text("\n".join(lines))
    found = read(RecordSource(path, images=tmp_path / "photos"))
    skipped = {place: each for place, each in enumerate(found) if isinstance(each, SkippedSample)}
    assert {place: each.reason for place, each in skipped.items()} == {
        1: "broken JSON",
        3: "a missing image",
        4: "a record of another form",
        5: "an image outside the image folder",
    }
    assert skipped[1].detail.startswith("line 2:")
    assert skipped[3].detail == "coco/9.jpg"


def test_an_image_that_is_no_image_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    path = write_records(tmp_path)
    (tmp_path / "photos/coco/0.jpg").write_text("no image")
    (found,) = read(RecordSource(path, images=tmp_path / "photos"), 0)
    assert isinstance(found, LmmSample)
    with pytest.raises(ClipmineError, match=r"coco/0.jpg: is no image of a known format"):
        found.images[0].read()


def test_the_cache_is_used_again_until_the_file_changes(tmp_path: Path) -> None:
    path = write_records(tmp_path, count=2)
    first = RecordSource(path, images=tmp_path / "photos", cache=tmp_path / "cache")
    kept = sorted((tmp_path / "cache").iterdir())
    again = RecordSource(path, images=tmp_path / "photos", cache=tmp_path / "cache")
    assert again.digest() == first.digest()
    assert sorted((tmp_path / "cache").iterdir()) == kept
    path.write_text(json.dumps([record(0), record(1, id="other")]))
    changed = RecordSource(path, images=tmp_path / "photos", cache=tmp_path / "cache")
    assert changed.digest() != first.digest()
    assert read(changed)[1].sample_id == "other"


def test_the_default_image_folder_is_beside_the_file(tmp_path: Path) -> None:
    path = write_records(tmp_path, count=2)
    assert all(isinstance(each, SkippedSample) for each in read(RecordSource(path)))
    (tmp_path / "photos").rename(tmp_path / "images")
    assert all(isinstance(each, LmmSample) for each in read(RecordSource(path)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        ("", "has no records"),
        ("[]", "has no records"),
        ('[{"caption": 1}]', r"none of its 1 records can be used; the first: a record of another form \(record 1: "),
        ('[{"a": 1},\n{', "broken JSON at line 2"),
    ],
)
def test_files_that_cannot_be_used_are_told_in_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "data.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=message) as error:
        RecordSource(path, cache=tmp_path / "cache")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("cache/*.json"))


def test_an_image_folder_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    path = write_records(tmp_path)
    with pytest.raises(BadInput, match=r"nowhere: the folder of the images of .*data.json is not there"):
        RecordSource(path, images=tmp_path / "nowhere")
    with pytest.raises(BadInput, match="is not there"):
        RecordSource(path, images=path)


def test_a_folder_is_no_file_of_records(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder"):
        RecordSource(tmp_path)
