"""Stories of VIST's form: a set of photographs in their order, a story of each worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from mining.sets.annotation import Turn
from mining.sets.importers import write_records
from mining.sets.importers.record import RecordRejected
from mining.sets.importers.stories import parse_story, read_stories
from tests.mining.sets.importers.made_files import import_file, write_images


def step(story: str, order: int, photo: str, worker: str = "W1", **fields: Any) -> list[dict[str, Any]]:
    return [
        {
            "original_text": f"Step {order} of {story}.",
            "album_id": "44277",
            "photo_flickr_id": photo,
            "setting": "first-2-pick-and-tell",
            "worker_id": worker,
            "story_id": story,
            "tier": "story-in-sequence",
            "worker_arranged_photo_order": order,
            "text": f"step {order} of {story} .",
            "storylet_id": f"{story}{order}",
            **fields,
        }
    ]


def whole(annotations: list[Any]) -> dict[str, Any]:
    photos = [
        {"id": name, "title": f"photo {name}", "url_o": f"https://x.org/{name}_o.jpg"} for name in ("1", "2", "3")
    ]
    return {
        "images": photos,
        "albums": [{"id": "44277", "title": "a fair"}],
        "info": {"year": 2016},
        "type": "sis",
        "annotations": annotations,
    }


def test_stories_come_back_wherever_their_steps_stand(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", ["1.jpg", "2.png"])
    annotations = [
        step("45530", 1, "2"),
        step("45531", 0, "1", "W2"),
        step("45530", 0, "1"),
        step("45531", 1, "2", "W2"),
        step("45532", 0, "2"),
        step("45532", 1, "2"),
        step("45532", 2, "3"),
    ]
    (tmp_path / "sis.json").write_text(json.dumps(whole(annotations)))
    sets = import_file(tmp_path, "vist", tmp_path / "sis.json", images=(str(tmp_path / "photos"),))
    first, second = sets.with_annotations()
    assert [member.path for member in first.members] == ["1.jpg", "2.png"]
    assert first.members[0].url == "https://x.org/1_o.jpg"
    assert [each.annotator.name for each in first.annotations] == ["W1", "W2"]
    assert first.annotations[0].turns == (
        Turn("user", (0,)),
        Turn("assistant", ("step 0 of 45530 .",)),
        Turn("user", (1,)),
        Turn("assistant", ("step 1 of 45530 .",)),
    )
    assert [member.key for member in second.members] == ["2", "2", "3"]
    assert write_records(sets, str(tmp_path / "again.json")) == 3
    again = json.loads((tmp_path / "again.json").read_text())
    assert [json.dumps(each) for each in again["annotations"]] == [json.dumps(each) for each in annotations]
    assert {name: again[name] for name in ("info", "type", "albums")} == {
        name: whole([])[name] for name in ("info", "type", "albums")
    }
    assert sorted(again["images"], key=lambda photo: photo["id"]) == whole([])["images"]


def test_a_story_of_one_step_is_left_out_and_counted(tmp_path: Path) -> None:
    annotations = [
        step("a", 0, "1"),
        step("b", 0, "1"),
        step("b", 1, "2"),
        ["broken"],
        step("c", 0, "1", text=None),
        step("c", 1, "2"),
    ]
    (tmp_path / "sis.json").write_text(json.dumps(whole(annotations)))
    said = import_file(tmp_path, "vist", tmp_path / "sis.json").manifest["import"]
    assert (said["records"], said["imported"]) == (4, 1)
    assert said["skipped"] == {"a field of another type": 2, "a story of one step": 1}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([step("a", 0, "1"), step("a", 1, "2", "W2")], "a story by several workers"),
        ([step("a", 0, "1"), step("a", "1", "2")], "worker_arranged_photo_order is not a whole number"),  # type: ignore[arg-type]
        ([step("a", 0, "1"), [{"story_id": "a"}]], "lacks a field"),
    ],
)
def test_what_is_no_story_is_rejected(steps: list[Any], message: str) -> None:
    record: dict[str, Any] = {
        "steps": [{"place": n, "step": each[0]} for n, each in enumerate(steps)],
        "photos": {},
        "album": None,
    }
    with pytest.raises(RecordRejected, match=message):
        parse_story(record)


def test_another_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    for text, message in (("[]", "is no file of stories"), ("{", "broken JSON")):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(BadInput, match=message):
            read_stories(str(tmp_path / "x.json"))


@pytest.mark.parametrize("worker", ["", "  ", 7])
def test_a_worker_without_a_name_comes_back(tmp_path: Path, worker: Any) -> None:
    steps = [step("7", order, str(order), worker, album_id=None) for order in (1, 2)]
    path = tmp_path / "stories.json"
    path.write_text(json.dumps(whole(steps)))
    sets = import_file(tmp_path, "vist", path)
    write_records(sets, str(tmp_path / "again.json"))
    again = json.loads((tmp_path / "again.json").read_text())
    assert [each[0]["worker_id"] for each in again["annotations"]] == [worker, worker]
