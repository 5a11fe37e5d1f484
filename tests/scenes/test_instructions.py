from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scenes.instructions import as_statement, main, write_instructions
from scenes.training.lettered import DIRECTLY


def test_conversations_are_in_llavas_form_and_about_drawn_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--count", "4", "--out", str(tmp_path)])
    records = json.loads(Path(capsys.readouterr().out.strip()).read_text())
    assert [record["id"] for record in records] == ["000000", "000001", "000002", "000003"]
    for record in records:
        turns = record["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert [turn["value"].count("<image>") for turn in turns] == [1] + [0] * (len(turns) - 1)
        assert all(turn["value"].strip() for turn in turns)
        assert (tmp_path / record["image"]).stat().st_size > 500


def test_a_complete_folder_is_left_as_it_is(tmp_path: Path) -> None:
    path = write_instructions("pool", tmp_path, 2)
    said = path.read_text()
    for file in tmp_path.glob("*.jpg"):
        file.unlink()
    assert write_instructions("pool", tmp_path, 2).read_text() == said
    assert not list(tmp_path.glob("*.jpg"))


def test_a_file_that_a_killed_writer_cut_off_is_written_again(tmp_path: Path) -> None:
    path = write_instructions("pool", tmp_path, 2)
    said = path.read_text()
    for text in (said[:40], "7", ""):
        path.write_text(text)
        assert write_instructions("pool", tmp_path, 2).read_text() == said
    assert [each.name for each in tmp_path.iterdir() if each.suffix != ".jpg"] == ["instructions.json"]


def test_statements_are_asked_as_true_or_false_too(tmp_path: Path) -> None:
    asked = as_statement("Is it true that the picture shows a red car in a park?", "no")
    statement = 'Is the statement "The picture shows a red car in a park." True or False?'
    assert asked == (f'{statement}\nAnswer with "True" or "False" directly.', "False")
    assert as_statement("Is there a car?", "yes") == ("Is there a car?", "yes")
    said = write_instructions("pool", tmp_path, 40).read_text()
    assert "Is it true that" in said
    assert "True or False?\\nAnswer" in said


def test_written_questions_have_options_that_suit_their_kind(tmp_path: Path) -> None:
    records = json.loads(write_instructions("pool", tmp_path, 120).read_text())
    turns = [turn["value"] for record in records for turn in record["conversations"]]
    asked = [(question, answer) for question, answer in zip(turns[::2], turns[1::2], strict=True)]
    lettered = [(question, answer) for question, answer in asked if question.endswith(DIRECTLY)]
    assert 0.25 * len(asked) < len(lettered) < 0.45 * len(asked)
    for question, answer in lettered:
        options = dict(re.findall(r"^([A-D])\. (.+)$", question, re.MULTILINE))
        assert answer in options
        if set(options.values()) & {"yes", "no"}:
            assert set(options.values()) == {"yes", "no"}
    assert not [answer for question, answer in asked if not question.endswith(DIRECTLY) and answer in "ABCD"]


def test_conversations_about_several_images_name_the_image_that_they_ask_about(tmp_path: Path) -> None:
    main(["--count", "8", "--images", "2", "--out", str(tmp_path)])
    for record in json.loads((tmp_path / "instructions.json").read_text()):
        assert len(set(record["image"])) == 2
        assert all((tmp_path / name).exists() for name in record["image"])
        first, *later = [turn["value"] for turn in record["conversations"] if turn["from"] == "human"]
        assert first.startswith("Image 1: <image>\nImage 2: <image>\n")
        assert all(re.search("image|picture", question, re.IGNORECASE) for question in later)
