"""The card of the LLaVA, and the model in the repository: it answers far above chance about scenes it never saw."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from scenes.drawing.render import render
from scenes.training.llava_accuracy import accuracies, answers_right, fixed_questions, lettered_questions
from scenes.training.llava_card import load, main, replies, write_card
from scenes.training.llava_data import Sample
from scenes.training.train_llava import OUT
from scenes.world.easy import easy_scene


@pytest.fixture(scope="module")
def images() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([render(easy_scene("test", number)).image for number in range(60)])


def test_the_shipped_model_answers_about_one_image_and_about_one_of_two(
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    model, processor = load(OUT)
    tokenizer = processor.tokenizer.backend_tokenizer
    for count, least in ((1, 0.55), (2, 0.45)):
        fixed = fixed_questions(tokenizer, count, 60, "test")
        own = accuracies(answers_right(model, fixed, images))["all"]
        blind = accuracies(answers_right(model, fixed, np.roll(images, 1, axis=0)))["all"]
        assert own >= least
        assert own >= blind + 0.1


def test_the_shipped_model_names_the_letter_of_an_option(
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    model, processor = load(OUT)
    fixed = lettered_questions(processor.tokenizer.backend_tokenizer, 60, "test")
    assert {sample.turns[0][1] for sample in fixed.samples} <= set("ABCD")
    own = accuracies(answers_right(model, fixed, images))["all"]
    assert own >= 0.6
    assert own >= accuracies(answers_right(model, fixed, np.roll(images, 1, axis=0)))["all"] + 0.1


def test_generation_by_plain_transformers_gives_the_answers_that_one_pass_predicts(
    images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
) -> None:
    model, processor = load(OUT)
    fixed = fixed_questions(processor.tokenizer.backend_tokenizer, 2, 8, "test")
    right = [value for _, value in answers_right(model, fixed, images)]
    said = replies(model, processor, [fixed.samples[i] for i in fixed.order], images)
    truth = [fixed.samples[i].turns[0][1] for i in fixed.order]
    assert [answer == true for answer, true in zip(said, truth, strict=True)] == right


def test_the_shipped_folder_is_small_and_has_its_card() -> None:
    sizes = {path.name: path.stat().st_size for path in OUT.iterdir() if path.is_file()}
    assert sum(sizes.values()) < 25_000_000
    assert {"README.md", "card.json", "training.json", "training_log.jsonl", "chat_template.jinja"} <= set(sizes)


def test_a_card_has_figures_and_a_picture(tmp_path: Path) -> None:
    folder = tmp_path / "llava"
    shutil.copytree(OUT, folder, ignore=shutil.ignore_patterns("card*", "README.md"))
    figures = write_card(folder, questions=12, shown=4)
    assert figures == json.loads((folder / "card.json").read_text())
    assert figures["one image"]["all"]["questions"] == 12
    assert (folder / "card" / "answers.png").exists()
    card = (folder / "README.md").read_text()
    assert "for 12 questions" in card
    assert "python -m scenes.training.llava_card" in card


def test_a_reply_ends_where_the_model_stops(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    model, processor = load(OUT)
    said = replies(
        model, processor, [Sample((0,), (("Is the picture indoors or outdoors?", ""),), ("indoors",))], images
    )
    assert said[0] in ("indoors", "outdoors")


def test_the_command_rejects_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--questions", "many"])
    assert "--questions" in capsys.readouterr().err
