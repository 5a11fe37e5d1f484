"""Question files of CaD-VI, LLaVA and the benchmarks' authors: every form is read, what is none is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from customize.lmm.evaluate.question import kind_of
from customize.lmm.evaluate.read_questions import read_questions
from index.errors import BadInput
from tests.customize.lmm.evaluate.conftest import choice_record, write_lines

PICK = (
    'Image 1: \nImage 2: \nWhich image suits the caption "{}" better?\nA. Image 1\nB. Image 2\n'
    "Answer with the option's letter from the given choices directly."
)


def test_cad_vis_record_keeps_images_in_their_places(tmp_path: Path) -> None:
    record = choice_record(5263, "A player celebrates.", "A", ("05617.jpg", "00586.jpg"), category="subject")
    (question,) = read_questions(str(write_lines(tmp_path / "SVO.jsonl", [record]))).questions
    assert (question.question_id, question.answer, question.category) == ("5263", "A", "subject")
    assert question.turn.parts[:4] == ("Image 1: ", 0, "\nImage 2: ", 1)
    assert [image.name for image in question.images] == ["05617.jpg", "00586.jpg"]
    assert question.options == {"A": "Image 1", "B": "Image 2"}


def test_a_llava_question_file_shows_its_image_first(tmp_path: Path) -> None:
    records = [
        {"question_id": 0, "image": "1.jpg", "text": "What color?", "category": "conv"},
        {"question_id": 1, "text": "What is 2 + 2?"},
        {"question_id": 2, "image": "1.jpg", "text": "<image>\nAnd <image>?"},
    ]
    read = read_questions(str(write_lines(tmp_path / "q.jsonl", records)))
    assert [question.turn.parts for question in read.questions] == [(0, "\nWhat color?"), ("What is 2 + 2?",)]
    assert [question.answer for question in read.questions] == ["", ""]
    assert read.skipped == {"as many <image> markers as images are needed": 1}


def test_a_llava_conversation_gives_its_first_question(tmp_path: Path) -> None:
    record = {
        "id": "7",
        "image": ["a.jpg", "b.jpg"],
        "conversations": [
            {"from": "human", "value": "Image 1: <image>\nImage 2: <image>\nSummarize."},
            {"from": "gpt", "value": "Commonalities:\n1. Both show a dog.\nDifferences:\nNone."},
            {"from": "human", "value": "And?"},
            {"from": "gpt", "value": "B"},
        ],
    }
    path = tmp_path / "summaries.json"
    path.write_text(json.dumps([record]))
    (question,) = read_questions(str(path)).questions
    assert question.question_id == "7"
    assert question.turn.text == "Image 1: \nImage 2: \nSummarize."
    assert question.answer.startswith("Commonalities:")


def test_nlvr2s_own_record_becomes_cad_vis_question(tmp_path: Path) -> None:
    record = {
        "sentence": "The left image shows {2} dogs.",
        "label": "False",
        "identifier": "dev-850-0-1",
        "left_url": "https://example.org/l.jpg",
        "right_url": None,
        "writer": "61",
    }
    (question,) = read_questions(str(write_lines(tmp_path / "dev.json", [record]))).questions
    assert (question.question_id, question.answer, kind_of(question)) == ("dev-850-0-1", "False", "statement")
    assert [image.name for image in question.images] == ["dev-850-0-img0.png", "dev-850-0-img1.png"]
    assert question.turn.parts[0].endswith("\nLeft image: ")  # type: ignore[union-attr]
    assert 'Is the statement "The left image shows {2} dogs." True or False?' in question.turn.text


def test_colas_own_file_becomes_two_rounds(tmp_path: Path) -> None:
    path = tmp_path / "COLA_multiobjects.json"
    place = "https://example.org/vg/"
    path.write_text(json.dumps([[f"{place}1.jpg", "tall giraffe", f"{place}2.jpg", 'a "brown" giraffe']]))
    first, second = read_questions(str(path)).questions
    assert (first.question_id, first.answer, first.pair) == ("0_0", "A", "0")
    assert (second.question_id, second.answer, second.pair) == ("0_1", "B", "0")
    assert first.turn.text == PICK.format("tall giraffe")
    assert "a 'brown' giraffe" in second.turn.text
    assert first.images == second.images
    assert first.images[0].also == ("1.jpg",)


def test_eqbens_own_file_has_categories(tmp_path: Path) -> None:
    records = [
        {"image0": "eqbensd/1/image0.png", "image1": "eqbensd/1/image1.png", "caption0": "a dove", "caption1": ["owl"]},
        {"id": 9, "tag": "x", "image_0": "a", "image_1": "b", "caption_0": "one", "caption_1": "two"},
    ]
    path = tmp_path / "eqben.json"
    path.write_text(json.dumps(records))
    questions = read_questions(str(path)).questions
    assert [question.question_id for question in questions] == ["0_0", "0_1", "9_0", "9_1"]
    assert [question.category for question in questions] == ["eqbensd", "eqbensd", "x", "x"]
    assert [question.answer for question in questions] == ["A", "B", "A", "B"]


def test_bisons_own_file_shows_the_right_image_first_for_about_half(tmp_path: Path) -> None:
    def bison(own: int) -> dict[str, Any]:
        images = [
            {"image_id": 10 + own, "image_filename": f"COCO_val2014_{10 + own}.jpg"},
            {"image_id": 90, "image_filename": "COCO_val2014_90.jpg"},
        ]
        return {"bison_id": own, "caption": "a dog", "image_candidates": images, "true_image_id": 10 + own}

    path = tmp_path / "bison_annotations.cocoval2014.json"
    path.write_text(json.dumps({"info": {"source": "coco"}, "data": [*(bison(own) for own in range(40)), {}]}))
    read = read_questions(str(path))
    assert len(read.questions) == 40
    assert sum(read.skipped.values()) == 1
    for own, question in enumerate(read.questions):
        place = "AB".index(question.answer)
        assert question.images[place].name == f"COCO_val2014_{10 + own}.jpg"
    assert 8 <= sum(question.answer == "A" for question in read.questions) <= 32
    assert read_questions(str(path)).questions == read.questions


def test_svo_probes_own_table_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "svo_probes.csv"
    path.write_text(
        "sentence,pos_triplet,neg_triplet,pos_url,neg_url,pos_image_id,neg_image_id,subj_neg,verb_neg,obj_neg\n"
        'A child runs.,"child,run,sea","dog,run,sea",http://x/1.jpg,http://x/2.jpg,3,4,True,False,False\n'
        'A child sits.,"child,sit,sea","child,run,sea",http://x/1.jpg,http://x/2.jpg,3,5,False,True,False\n'
        'Broken.,"a,b,c","d,e,c",http://x/1.jpg,http://x/2.jpg,3,5,True,True,False\n'
    )
    read = read_questions(str(path))
    assert [question.category for question in read.questions] == ["subject", "verb"]
    first = read.questions[0]
    right = first.images["AB".index(first.answer)]
    assert (right.name, right.also) == ("3", ("00003.jpg", "3.jpg"))
    assert read.skipped == {"not one of subject, verb and object differs": 1}


def test_ids_that_come_twice_stay_apart(tmp_path: Path) -> None:
    records = [choice_record("1", "a", "A", ("a.jpg", "b.jpg"))] * 3
    read = read_questions(str(write_lines(tmp_path / "q.jsonl", records)))
    assert [question.question_id for question in read.questions] == ["1", "1#2", "1#3"]
    assert len(read_questions(str(tmp_path / "q.jsonl"), limit=2).questions) == 2


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.jsonl", '{"question_id": 1}\n[1, 2]\n{broken\n', r"has no questions \(.*lacks a field: 1"),
        ("q.json", '{"rows": []}', "one JSON object without a list"),
        ("q.txt", "x", "unknown kind of file"),
    ],
)
def test_a_file_without_questions_is_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=message):
        read_questions(str(tmp_path / name))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.jsonl: does not exist"):
        read_questions(str(tmp_path / "none.jsonl"))


def test_records_of_bison_of_another_form_are_left_out_and_counted(tmp_path: Path) -> None:
    def record(*candidates: Any) -> dict[str, Any]:
        return {"bison_id": 1, "caption": "a dog", "image_candidates": candidates, "true_image_id": 1}

    good = record({"image_id": 1}, {"image_id": 2})
    odd = [record(1, 2), record({"x": 1}, {"image_id": 2}), record({"image_id": "a"}, {"image_id": "b"}), 7]
    path = tmp_path / "bison.json"
    path.write_text(json.dumps({"data": [good, *odd]}))
    read = read_questions(str(path))
    assert [image.name for image in read.questions[0].images].count("COCO_val2014_000000000001.jpg") == 1
    assert read.skipped == {
        "a candidate without an image_id": 2,
        "a candidate without an image_filename": 1,
        "no record of a known form": 1,
    }


@pytest.mark.parametrize("field", ["text", "answer", "question_id", "image"])
def test_a_question_with_half_a_character_is_left_out(tmp_path: Path, field: str) -> None:
    record = {"image": "a.png", "text": "<image> What?", "answer": "A", "question_id": "1"}
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in (record, {**record, field: record[field] + "\ud800"})))
    read = read_questions(str(path))
    assert (len(read.questions), dict(read.skipped)) == (1, {"a text that is no Unicode": 1})
