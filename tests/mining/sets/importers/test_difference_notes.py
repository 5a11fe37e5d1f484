"""Spot-the-Diff and Birds-to-Words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mining.sets.annotation import Turn
from mining.sets.importers.difference_notes import parse_birds, parse_spot_the_diff
from mining.sets.importers.record import RecordRejected
from tests.mining.sets.importers.made_files import round_trip, write_images

BIRD = {
    "img1ObservationURL": "https://www.inaturalist.org/photos/647514",
    "img1ImgURL": "https://static.inaturalist.org/photos/647514/large.jpg?1380003411",
    "img1Species": "Catherpes mexicanus",
    "img1Selection": "base",
    "img2ObservationURL": "https://www.inaturalist.org/photos/5595152",
    "img2ImgURL": "https://static.inaturalist.org/photos/5595152/large.jpg?1",
    "img2Species": "Eumomota superciliosa",
    "img2Selection": "sameClass",
    "split": "train",
    "annN": "1",
    "description": 'Animal 1 is brown and white. Animal 2 is "multi-colored".',
}


def test_notes_of_spot_the_diff_come_back(tmp_path: Path) -> None:
    write_images(tmp_path / "images", ["5406.png", "5406_2.png", "5406_diff.jpg"])
    sets = round_trip(
        tmp_path,
        "spot-the-diff",
        [
            {"img_id": "5406", "sentences": ["the blue truck is gone", "a person was added"]},
            {"img_id": "5614", "sentences": []},
            {"img_id": "4122", "sentences": ["a\nline break", "", "b"]},
            {"sentences": ["other order"], "img_id": 12, "worker": 3},
        ],
        ".json",
        images=(str(tmp_path / "images"),),
    )
    first = sets.with_annotations()[0]
    assert [member.path for member in first.members] == ["5406.png", "5406_2.png"]
    [note] = first.annotations
    assert note.kind == "difference_note"
    assert note.turns == (
        Turn("user", (0, 1)),
        Turn("assistant", ("the blue truck is gone\na person was added",)),
    )


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_birds_to_words_comes_back_and_its_writers_stand_side_by_side(tmp_path: Path, suffix: str) -> None:
    write_images(tmp_path / "birds", ["647514.jpg", "5595152.jpg"])
    rows = [BIRD, {**BIRD, "annN": "2", "description": "The second has a longer tail."}, {**BIRD, "split": "val"}]
    sets = round_trip(tmp_path, "birds-to-words", rows, suffix, images=(str(tmp_path / "birds"),))
    train, val = sets.with_annotations()
    assert [each.content["annN"] for each in train.annotations] == ["1", "2"]
    assert [member.path for member in train.members] == ["647514.jpg", "5595152.jpg"]
    assert train.members[0].extra["species"] == "Catherpes mexicanus"
    assert (train.split, val.split) == ("train", "val")
    assert {source.licence for source in sets.sources.values()} == {"CC-BY-SA-4.0"}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"img_id": "1"}, r"lacks a field \(sentences\)"),
        ({"img_id": "1", "sentences": "one"}, "sentences is not a list of texts"),
        ({"img_id": "1", "sentences": [None]}, "sentences is not a list of texts"),
    ],
)
def test_what_is_no_note_is_rejected(record: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordRejected, match=message):
        parse_spot_the_diff(record)


def test_a_row_without_its_url_is_rejected() -> None:
    with pytest.raises(RecordRejected, match="an image's URL is NoneType"):
        parse_birds({**BIRD, "img2ImgURL": None})


@pytest.mark.parametrize("img_id", [None, {}, [1], True, "", 1.5])
def test_an_img_id_that_names_no_image_is_rejected(img_id: Any) -> None:
    with pytest.raises(RecordRejected, match="img_id is neither a text nor a number"):
        parse_spot_the_diff({"img_id": img_id, "sentences": ["a"]})
