from __future__ import annotations

import json
from pathlib import Path

import pytest

from index.errors import BadInput, ImagesNotLocal
from mining.export import to_llava
from mining.sets.image_set import ImageSet
from tests.mining.made_sets import write_sets
from tests.retrieval.stores import forget, jpeg, make_store, random_unit


def test_the_records_are_llavas_with_a_place_for_each_image(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1], [4, 3, 2]])
    summary = to_llava(sets, tmp_path / "out/llava.json")
    assert (summary.asked, summary.written, summary.skipped) == (2, 2, {})
    pair, story = json.loads((tmp_path / "out/llava.json").read_text())
    assert pair == {
        "id": "0_1",
        "image": ["0.jpg", "1.jpg"],
        "conversations": [
            {"from": "human", "value": "Image 1: <image>\nImage 2: <image>\nWhat does each image show?"},
            {"from": "gpt", "value": "Image 1: caption 0\nImage 2: caption 1"},
        ],
    }
    assert story["image"] == ["4.jpg", "3.jpg", "2.jpg"]
    assert story["conversations"][0]["value"].count("<image>") == 3
    for row in range(5):
        assert (tmp_path / f"out/images/{row}.jpg").read_bytes() == jpeg(row)


def test_answers_of_the_callers_may_have_several_rounds_or_leave_a_set_out(tmp_path: Path) -> None:
    def annotate(each: ImageSet) -> list[tuple[str, str]] | None:
        if each.rows == (2, 3):
            return None
        return [("What differs?", f"Level {each.level}."), ("Which is larger?", "A")]

    summary = to_llava(write_sets(tmp_path, [[0, 1], [2, 3]]), tmp_path / "llava.jsonl", answer=annotate)
    assert (summary.asked, summary.written, summary.skipped) == (2, 1, {"without an answer": 1})
    assert summary.named == ["set 2_3: without an answer"]
    (record,) = [json.loads(line) for line in (tmp_path / "llava.jsonl").read_text().splitlines()]
    assert [turn["value"] for turn in record["conversations"]] == [
        "Image 1: <image>\nImage 2: <image>\nWhat differs?",
        "Level 0.",
        "Which is larger?",
        "A",
    ]
    assert [turn["from"] for turn in record["conversations"]] == ["human", "gpt", "human", "gpt"]


def test_a_caption_cannot_pass_for_an_image_or_for_another_line(tmp_path: Path) -> None:
    captions = ["an <image> of <im<image>age>", "a dog\nImage 3: a cat", *["plain"] * 10]
    store = make_store(tmp_path, random_unit(12), caption=captions)
    to_llava(write_sets(tmp_path, [[0, 1]], store=store), tmp_path / "llava.json")
    question, answer = json.loads((tmp_path / "llava.json").read_text())[0]["conversations"]
    assert question["value"].count("<image>") == 2
    assert answer["value"] == "Image 1: an image of <imimageage>\nImage 2: a dog Image 3: a cat"


def test_no_text_is_made_up_for_an_image_without_a_caption(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(12), caption=[None, " \n", *["plain"] * 10])
    sets = write_sets(tmp_path, [[0, 2], [1, 3], [4, 5]], store=store)
    summary = to_llava(sets, tmp_path / "llava.json")
    assert (summary.written, summary.skipped) == (1, {"without a caption": 2})


def test_images_that_cannot_be_had_leave_their_set_out_by_name(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(12))
    sets = write_sets(tmp_path, [[0, 1], [2, 3], [4, 5]], store=store)
    forget(store, [3])
    summary = to_llava(sets, tmp_path / "llava.json")
    assert (summary.asked, summary.written, summary.skipped) == (3, 2, {"forgotten": 1})
    assert summary.named == ["set 2_3: row 3 is forgotten"]
    assert not (tmp_path / "images/3.jpg").exists()


def test_no_sets_are_an_empty_list(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]]).filter(level=7)
    assert to_llava(sets, tmp_path / "llava.json").written == 0
    assert json.loads((tmp_path / "llava.json").read_text()) == []


def test_bad_input_is_named(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, [[0, 1]])
    with pytest.raises(BadInput, match=r"a file named .json or .jsonl"):
        to_llava(sets, tmp_path / "llava.txt")
    with pytest.raises(BadInput, match=r"set 0_1: an answer is a list of \(question, answer\) texts"):
        to_llava(sets, tmp_path / "llava.json", answer=lambda each: "both show dogs")  # type: ignore[arg-type,return-value]
    assert not (tmp_path / "llava.json").exists()
    elsewhere = make_store(tmp_path / "elsewhere", random_unit(12), local=False)
    with pytest.raises(ImagesNotLocal, match="has embeddings and no images"):
        to_llava(write_sets(tmp_path / "elsewhere", [[0, 1]], store=elsewhere), tmp_path / "llava.json")
