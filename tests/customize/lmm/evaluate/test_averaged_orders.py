"""Letters chosen by probabilities of both orders, computed by hand."""

from __future__ import annotations

from customize.lmm.evaluate.averaged_orders import averaged_letters
from customize.lmm.evaluate.question import Question, options_in
from mining.chat.chat import ChatReply
from mining.sets.annotation import Turn
from tests.customize.lmm.evaluate.test_scores import pick


def told(a: float, b: float) -> ChatReply:
    return ChatReply("A", "stop", answers={"A": a, "B": b})


def test_a_liking_for_a_letter_cancels_out() -> None:
    questions = [pick(own, "A") for own in ("first", "second", "even", "unknown", "failed", "missing")]
    replies = {
        "first": told(-0.1, -3.0),
        "second": told(-0.2, -2.0),
        "even": told(-0.2, -2.0),
        "unknown": told(-0.2, -2.0),
        "failed": told(-0.2, -2.0),
    }
    others = {
        "first": told(-0.2, -2.0),  # B, the first image, is less improbable than in the other order
        "second": told(-0.1, -3.0),
        "even": told(-0.2, -2.0),
        "unknown": ChatReply("A", "stop"),
        "failed": ChatReply("", "failed", error="down", answers={"A": 0.0, "B": 0.0}),
    }
    assert averaged_letters(questions, replies, others) == {
        "first": "A",
        "second": "B",
        "even": "",
        "unknown": None,
        "failed": None,
        "missing": None,
    }


def test_only_questions_of_two_options_are_chosen_so() -> None:
    text = "Which?\nA. one\nB. two\nC. three\n"
    question = Question("1", Turn("user", (text,)), (), "A", options_in(text))
    assert averaged_letters([question], {}, {}) == {}
