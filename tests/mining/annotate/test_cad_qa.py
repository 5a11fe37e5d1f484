from __future__ import annotations

import pytest

from mining.annotate.cad_qa import CadQaTask, Round, parse_rounds
from mining.annotate.task import AnnotationTask, Answer, Unparsed
from tests.mining.annotate.made_pairs import BUSES, COMPARED, compared, image_set

_REPLY = """Question: What do both images show?
Images: 1, 2
Answer: Both images show a bus.

Question: Which color is the bus in Image 2?
Images: 2
Answer: The bus in Image 2 is blue.
"""


def test_captions_and_summary_are_quoted() -> None:
    task: AnnotationTask = CadQaTask()
    summary = compared()

    (asked,) = task.asked(image_set(annotations=(summary,)), (), 0)

    assert all(caption in asked.request.turns[0].text for caption in BUSES)
    assert COMPARED.text() in asked.request.turns[0].text
    assert asked.parent == summary
    assert "five rounds" in asked.request.turns[0].text
    assert "read by a program" in task.asked(image_set(annotations=(summary,)), (), 1)[0].request.turns[0].text


def test_nothing_is_asked_without_summary_or_captions() -> None:
    assert CadQaTask().asked(image_set(), (), 0) == []
    assert CadQaTask().asked(image_set((None, None), annotations=(compared(),)), (), 0) == []
    assert CadQaTask(summary="comparison/nobody").asked(image_set(annotations=(compared(),)), (), 0) == []


def test_one_round_is_drawn_and_all_are_kept() -> None:
    found = {}
    for seed in range(12):
        task, each = CadQaTask(seed=seed), image_set(annotations=(compared(),))
        answer = task.parse(each, task.asked(each, (), 0)[0], _REPLY)
        assert isinstance(answer, Answer)
        assert len(answer.content["rounds"]) == 2
        assert answer.turns[0].images == (0, 1)
        assert answer.turns[1].text == answer.content["answer"]
        found[answer.content["question"]] = answer.content["one_image"], answer.content["images"]

    assert found == {
        "What do both images show?": (False, [0, 1]),
        "Which color is the bus in Image 2?": (True, [1]),
    }


@pytest.mark.parametrize(
    "reply",
    [
        "**Question 1:** What is red?\n**Answer 1:** The bus.",
        "Q1: What is red?\nA1: The bus.",
        "1. Question: What is red?\n   Answer: The bus.",
        "Here are the rounds:\n\nUser: What is red?\nAssistant: The bus.\n\nI hope this helps.",
        "### Round 1\nQuestion: What\nis red?\nImages: Image 1\nAnswer: The\nbus.",
    ],
)
def test_rounds_are_read_in_many_forms(reply: str) -> None:
    rounds = parse_rounds(reply)

    assert isinstance(rounds, list)
    assert [(each.question, each.answer) for each in rounds] == [("What is red?", "The bus.")]


def test_a_round_that_the_limit_cut_is_left_out() -> None:
    rounds = parse_rounds(_REPLY + "\nQuestion: Why?\nAnswer: Because the", cut=True)

    assert isinstance(rounds, list)
    assert len(rounds) == 2


@pytest.mark.parametrize(
    "reply", ["", "Nice.", "Question: What?", "I'm sorry, I can't.", "Question: A?\nAnswer: See the caption."]
)
def test_what_has_no_round_is_not_understood(reply: str) -> None:
    assert isinstance(parse_rounds(reply), Unparsed)


@pytest.mark.parametrize(
    "piece", ["Question: ", "Q", "Question: a\n", "Question: a\nAnswer:\n" + "b\n" * 90_000, "\n", "1. ", "* "]
)
def test_ten_megabytes_of_garbage_are_read_at_once(piece: str) -> None:
    assert isinstance(parse_rounds(piece * (10_000_000 // len(piece))), list | Unparsed)


@pytest.mark.parametrize(
    ("question", "images"),
    [
        ("What is in Image 2?", (1,)),
        ("What is in the first image?", (0,)),
        ("How does Image 1 differ from Image 2?", (0, 1)),
        ("Which of the two images resembles Image 1?", (0, 1)),
        ("Where are they?", (0, 1)),
        ("What is in Image 7?", (0, 1)),
    ],
)
def test_the_words_tell_which_images_a_question_is_about(question: str, images: tuple[int, ...]) -> None:
    assert Round(question, "x").about(2) == images
