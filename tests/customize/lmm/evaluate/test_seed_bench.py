"""SEED-Bench's own file: images and videos, four options, types by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from customize.lmm.evaluate.read_questions import read_questions


def seed_file(folder: Path, extra: list[Any] | None = None) -> str:
    def question(own: str, data_type: str, kind: int, **more: Any) -> dict[str, Any]:
        choices = {f"choice_{letter}": f"option {letter}" for letter in "abcd"}
        return {
            "question_id": own, "question": "How many?", "answer": "C", "data_type": data_type, "data_id": f"id_{own}",
            "question_type_id": kind, **choices, **more,
        }  # fmt: skip

    whole = {
        "question_type": {"Instances Counting": 5, "Action Recognition": 10},
        "questions": [question("11", "image", 5), question("12", "video", 10), *(extra or [])],
    }
    path = folder / "SEED-Bench.json"
    path.write_text(json.dumps(whole))
    return str(path)


def test_images_and_videos_are_told_apart(tmp_path: Path) -> None:
    path = seed_file(tmp_path)
    (image,) = read_questions(path, data_type="image").questions
    assert (image.question_id, image.category, image.answer) == ("11", "Instances Counting", "C")
    assert image.turn.parts == (
        0,
        "\nHow many?\nA. option a\nB. option b\nC. option c\nD. option d\n"
        "Answer with the option's letter from the given choices directly.",
    )
    assert image.images[0].name == "id_11"
    (two,) = read_questions(path, data_type="video").questions
    assert [each.name for each in two.images] == ["10_12_0.png", "10_12_1.png"]
    assert two.turn.images == (0, 1)
    (one,) = read_questions(path, data_type="video", frames=1).questions
    assert [each.name for each in one.images] == ["10_12.png"]
    assert len(read_questions(path).questions) == 2


def test_what_is_no_question_is_counted(tmp_path: Path) -> None:
    read = read_questions(seed_file(tmp_path, [{"question_id": 1}, "text", {"question": "?", "choice_a": "x"}]))
    assert len(read.questions) == 2
    assert sum(read.skipped.values()) == 3
