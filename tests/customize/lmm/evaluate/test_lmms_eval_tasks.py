"""Tasks for lmms-eval: files that it can read, messages with images in their places, metrics over what was answered."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from customize.lmm.evaluate.lmms_eval_tasks import (
    FAILED,
    aggregate_mean,
    aggregate_pairs,
    doc_to_messages,
    doc_to_text,
    main,
    process_results,
    write_lmms_eval_tasks,
)
from scenes.tars import write_tar
from tests.customize.lmm.evaluate.conftest import choice_record, png, write_images, write_lines


def docs(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write_images(folder, ["a.png", "b.png"])
    write_tar(folder / "more.tar", [("c", {"png": png("red")})])
    records = [
        choice_record(0, "a dog", "A", ("a.png", "b.png"), category="subject"),
        choice_record(1, "a dog", "B", ("a.png", "c.png"), category="verb"),
        choice_record(2, "a dog", "B", ("a.png", "none.png"), category="verb"),
    ]
    write_lines(folder / "SVO_Probes.jsonl", records)
    rounds = [choice_record(f"0_{n}", "a dog", "AB"[n], ("a.png", "b.png")) for n in (0, 1)]
    write_lines(folder / "COLA.jsonl", rounds)
    question = {"image": ["a.png"], "text": "<image>\nWhat is it?", "answer": "a red bus", "question_id": "7"}
    write_lines(folder / "CaD_QA_eval.jsonl", [question])
    return folder


def test_questions_become_rows_with_the_paths_of_their_images(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "tasks"
    assert write_lmms_eval_tasks(str(data), out, ["svo", "cola", "cad-qa"]) == {
        "svo": (2, 1),
        "cola": (2, 0),
        "cad-qa": (1, 0),
    }
    first, second = docs(out, "svo")
    assert first["images"] == [str(data / "a.png"), str(data / "b.png")]
    assert Path(second["images"][1]).read_bytes() == png("red")
    assert doc_to_text(first).startswith("Image 1: <image>\nImage 2: <image>\nWhich image suits")
    (message,) = doc_to_messages(first)
    assert [piece["type"] for piece in message["content"]] == ["text", "image", "text", "image", "text"]
    assert message["content"][1]["url"].size == (8, 8)
    text = (out / "clipmine_svo.yaml").read_text().replace("!function ", "")
    task = yaml.safe_load(text)
    assert task["dataset_kwargs"]["data_files"]["test"] == str(out / "svo.jsonl")
    assert [metric["metric"] for metric in task["metric_list"]] == [
        "failed",
        "accuracy",
        "accuracy_tolerant",
        "not_understood",
        "accuracy_subject",
        "accuracy_verb",
    ]
    assert "both_right" in (out / "clipmine_cola.yaml").read_text()
    assert "from customize.lmm.evaluate.lmms_eval_tasks import *" in (out / "utils.py").read_text()


def test_a_failed_reply_is_in_no_accuracy(data: Path, tmp_path: Path) -> None:
    write_lmms_eval_tasks(str(data), tmp_path / "tasks", ["svo", "cad-qa"])
    first, second = docs(tmp_path / "tasks", "svo")
    rows = [process_results(first, ["A."]), process_results(second, [f"{FAILED}server down"])]
    assert aggregate_mean([row["accuracy"] for row in rows]) == 0.0
    assert aggregate_mean([row["accuracy_tolerant"] for row in rows]) == 1.0
    assert aggregate_mean([row["failed"] for row in rows]) == 0.5
    assert math.isnan(aggregate_mean([rows[1]["accuracy_verb"]]))
    (open_question,) = docs(tmp_path / "tasks", "cad-qa")
    assert process_results(open_question, ["a red bus"])["word_f1"]["value"] == 1.0


def test_both_rounds_of_a_pair_count(data: Path, tmp_path: Path) -> None:
    write_lmms_eval_tasks(str(data), tmp_path / "tasks", ["cola"])
    rounds = docs(tmp_path / "tasks", "cola")

    def both(*replies: str) -> float:
        items = [process_results(doc, [reply])["both_right"] for doc, reply in zip(rounds, replies, strict=True)]
        return aggregate_pairs(items)

    assert (both("A", "B"), both("A", "A")) == (1.0, 0.0)
    assert math.isnan(both("A", f"{FAILED}time-out"))


def test_the_command_says_what_was_left_out(data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    main(["--data", str(data), "--out", str(tmp_path / "tasks"), "--task", "svo"], lines.append)
    assert lines == ["clipmine_svo: 2 questions, 1 left out: an image is missing or unreadable"]
