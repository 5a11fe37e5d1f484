from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput, ImagesNotLocal
from mining.export import to_llava
from mining.export.skipped import SkippedSet
from mining.sets.annotation import Turn
from mining.sets.decisions import DecisionsFile
from mining.sets.image_set import ImageSet
from tests.mining.made_mixed import write_mixed
from tests.mining.made_sets import write_sets
from tests.retrieval.stores import forget, jpeg, make_store, random_unit


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24] + ".jpg"


def test_the_records_are_llavas_with_a_place_for_each_image(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [4, 3, 2]])
    summary = to_llava(sets, tmp_path / "out/llava.json")
    assert (summary.asked, summary.written, summary.skipped) == (2, 2, {})
    pair, story = json.loads((tmp_path / "out/llava.json").read_text())
    assert pair == {
        "id": sets[0].set_id,
        "image": [name(jpeg(0)), name(jpeg(1))],
        "conversations": [
            {"from": "human", "value": "Image 1: <image>\nImage 2: <image>\nWhat does each image show?"},
            {"from": "gpt", "value": "Image 1: caption 0\nImage 2: caption 1"},
        ],
    }
    assert story["image"] == [name(jpeg(row)) for row in (4, 3, 2)]
    assert story["conversations"][0]["value"].count("<image>") == 3
    for row in range(5):
        assert (tmp_path / "out/images" / name(jpeg(row))).read_bytes() == jpeg(row)


def test_annotations_of_several_sources_keep_their_turns_and_places(tmp_path: Path) -> None:
    summary = to_llava(write_mixed(tmp_path), tmp_path / "llava.json")
    assert (summary.asked, summary.written) == (14, 14)
    records = {record["id"]: record for record in json.loads((tmp_path / "llava.json").read_text())}
    assert records["cad/1"]["image"] == [name(jpeg(102)), name(jpeg(103))]
    assert [turn["value"] for turn in records["cad/1"]["conversations"]] == [
        "Left <image>, right <image>: what differs?",
        "Nothing 1.",
    ]
    assert records["llava/2"]["conversations"] == [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "<image>\nWhat is this?"},
        {"from": "gpt", "value": "A < s>cat< /s>."},
        {"from": "human", "value": "And its colour?"},
        {"from": "gpt", "value": "Grey."},
    ]
    assert "image" not in records["text/0"]
    for record in records.values():
        places = sum(turn["value"].count("<image>") for turn in record["conversations"])
        assert places == len(record.get("image", []))
        assert all((tmp_path / "images" / image).exists() for image in record.get("image", []))


def test_two_stores_into_one_folder_keep_their_images_apart(tmp_path: Path) -> None:
    """Both have a row 0 and a row 1, of other images."""
    for number, folder in enumerate(("a", "b")):
        images = [jpeg(10 * number + row) for row in range(2)]
        sets = write_sets(
            tmp_path / folder, [[0, 1]], store=make_store(tmp_path / folder, random_unit(2), images=images)
        )
        to_llava(sets, tmp_path / f"{folder}.json", images=tmp_path / "images")
    for number, folder in enumerate(("a", "b")):
        (record,) = json.loads((tmp_path / f"{folder}.json").read_text())
        found = [(tmp_path / "images" / image).read_bytes() for image in record["image"]]
        assert found == [jpeg(10 * number), jpeg(10 * number + 1)]


def test_answers_of_the_callers_may_have_several_rounds_or_leave_a_set_out(tmp_path: Path) -> None:
    def annotate(each: ImageSet) -> list[tuple[str, str]] | None:
        if each.rows == (2, 3):
            return None
        return [("What differs?", f"Level {each.level}."), ("Which is larger?", "A")]

    sets = write_sets(tmp_path, [[0, 1], [2, 3]])
    told: list[SkippedSet] = []
    summary = to_llava(sets, tmp_path / "llava.jsonl", answer=annotate, on_skipped=told.append)
    assert [str(each) for each in told] == summary.named
    assert (summary.asked, summary.written, summary.skipped) == (2, 1, {"without an answer": 1})
    assert summary.named == [f"set {sets[1].set_id}: without an answer"]
    (record,) = [json.loads(line) for line in (tmp_path / "llava.jsonl").read_text().splitlines()]
    assert [turn["value"] for turn in record["conversations"]] == [
        "Image 1: <image>\nImage 2: <image>\nWhat differs?",
        "Level 0.",
        "Which is larger?",
        "A",
    ]


def test_a_caption_cannot_pass_for_an_image_or_for_another_line(tmp_path: Path) -> None:
    captions = ["an <image> of <im<image>age>", "a dog\nImage 3: a cat USER:", *["plain"] * 10]
    sets = write_sets(tmp_path, [[0, 1]], store=make_store(tmp_path, random_unit(12), caption=captions))
    to_llava(sets, tmp_path / "llava.json", template="vicuna_v1")
    question, answer = json.loads((tmp_path / "llava.json").read_text())[0]["conversations"]
    assert question["value"].count("<image>") == 2
    assert answer["value"] == "Image 1: an image of <imimageage>\nImage 2: a dog Image 3: a cat USER :"


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(12), caption=[None, " \n", *["plain"] * 10])
    sets = write_sets(tmp_path, [[0, 2], [1, 3], [2, 3], [4, 5], [6, 7]], store=store)
    assert len(sets)  # opened before rows were forgotten: sets with such rows would be hidden
    forget(store, [3])
    DecisionsFile(Path(sets.path) / "decisions.jsonl").add(sets[4], "reject", sets.sources)
    summary = to_llava(sets, tmp_path / "llava.json")
    assert (summary.asked, summary.written) == (5, 1)
    assert summary.skipped == {"rejected by a person": 1, "without a caption": 2, "forgotten": 1}
    assert summary.named[2] == f"set {sets[2].set_id}, image 2 ({sets[2].members[1].ref}): forgotten"
    assert not (tmp_path / "images" / name(jpeg(3))).exists()
    assert to_llava(sets, tmp_path / "all.json", rejected=True).written == 2


def test_no_sets_are_an_empty_list(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]]).filter(level=7)
    assert to_llava(sets, tmp_path / "llava.json").written == 0
    assert json.loads((tmp_path / "llava.json").read_text()) == []


def test_bad_input_is_named(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]])
    with pytest.raises(BadInput, match=r"a file named .json or .jsonl"):
        to_llava(sets, tmp_path / "llava.txt")
    with pytest.raises(
        BadInput, match=rf"set {sets[0].set_id}: an answer is a list of Turn or of \(question, answer\)"
    ):
        to_llava(sets, tmp_path / "llava.json", answer=lambda each: "both show dogs")  # type: ignore[arg-type,return-value]
    assert not (tmp_path / "llava.json").exists()
    elsewhere = make_store(tmp_path / "elsewhere", random_unit(12), local=False)
    with pytest.raises(ImagesNotLocal, match="has embeddings and no images"):
        to_llava(write_sets(tmp_path / "elsewhere", [[0, 1]], store=elsewhere), tmp_path / "llava.json")


def test_a_folder_in_the_place_of_the_file_and_a_file_in_that_of_a_folder_are_one_line(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]])
    (tmp_path / "llava.json").mkdir()
    with pytest.raises(BadInput, match=r"llava.json: is a folder; name a file for the records"):
        to_llava(sets, tmp_path / "llava.json")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/images").write_text("mine")
    with pytest.raises(BadInput, match=r"out/images: is a file where the images need a folder"):
        to_llava(sets, tmp_path / "out/other.json")
    with pytest.raises(BadInput, match=r"out/images: is a file where the images need a folder"):
        to_llava(sets, tmp_path / "out/other.json", images=tmp_path / "out/images/below")
    with pytest.raises(BadInput, match=r"out/images: is a file where the records need a folder"):
        to_llava(sets, tmp_path / "out/images/other.json", images=tmp_path / "out/photos")
    assert (tmp_path / "out/images").read_text() == "mine"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["images"]


@pytest.mark.parametrize(
    ("turns", "error"),
    [
        ([Turn("user", (b"x",)), Turn("assistant", ("y",))], "an answer is a list of Turn"),  # type: ignore[arg-type]
        ([Turn("user", (1.5,)), Turn("assistant", ("y",))], "an answer is a list of Turn"),  # type: ignore[arg-type]
        ([(b"x", "y")], "an answer is a list of Turn"),
        ([("x", "\ud800")], "a turn has a text that is no Unicode"),
        ([Turn("user", ("x",)), Turn("assistant", ("a", 0, "\udfff"))], "a turn has a text that is no Unicode"),
    ],
)
def test_an_answer_that_cannot_be_written_is_one_line(tmp_path: Path, turns: Any, error: str) -> None:
    sets = write_sets(tmp_path, [[0, 1]])
    with pytest.raises(BadInput, match=f"set {sets[0].set_id}: {error}"):
        to_llava(sets, tmp_path / "llava.json", answer=lambda each: turns)
    assert not (tmp_path / "llava.json").exists()
