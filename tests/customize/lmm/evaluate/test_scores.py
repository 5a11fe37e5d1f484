"""Scores of hand-made replies, computed by hand."""

from __future__ import annotations

import pytest

from customize.lmm.evaluate.question import Question, options_in, swapped
from customize.lmm.evaluate.scores import TaskScore, failure, question_kind, score_questions
from mining.chat.chat import ChatReply
from mining.sets.annotation import Turn
from mining.sets.importers.record import NamedImage

PAIR = (NamedImage("a.jpg"), NamedImage("b.jpg"))


def pick(own: str, answer: str, category: str | None = None, pair: str | None = None) -> Question:
    turn = Turn("user", (0, 1, "\nWhich?\nA. Image 1\nB. Image 2\nAnswer."))
    return Question(own, turn, PAIR, answer, options_in(turn.text), category, pair)


def said(**replies: str) -> dict[str, ChatReply | str]:
    return {own: ChatReply(text, "stop") for own, text in replies.items()}


def right_of(score: TaskScore, name: str) -> tuple[int | None, int]:
    figure = score.figures[name]
    return figure.right, figure.count


def test_exact_and_tolerant_accuracy_by_category() -> None:
    questions = [
        pick("s1", "A", "subject"),
        pick("s2", "B", "subject"),
        pick("v1", "A", "verb"),
        pick("o1", "B", "object"),
        pick("o2", "B", "object"),
    ]
    replies = said(s1="A", s2="Image 2", v1="B", o1="B", o2="I cannot tell")
    score = score_questions("choice", questions, replies)
    assert (score.questions, score.answered, score.not_understood, score.main) == (5, 5, 1, "accuracy")
    assert right_of(score, "accuracy") == (2, 5)
    assert right_of(score, "accuracy, tolerant") == (3, 5)
    assert right_of(score, "accuracy: subject") == (1, 2)
    assert right_of(score, "accuracy: verb") == (0, 1)
    assert right_of(score, "accuracy: object") == (1, 2)


def test_both_rounds_of_a_pair_must_be_right() -> None:
    questions = [pick(f"{pair}_{number}", "AB"[number], pair=str(pair)) for pair in range(4) for number in (0, 1)]
    replies = {
        "0_0": "A", "0_1": "B",  # both
        "1_0": "A", "1_1": "A",  # one: always A
        "2_0": "B", "2_1": "A",  # none
        "3_0": "A.", "3_1": "B",  # both, but for punctuation
    }  # fmt: skip
    score = score_questions("choice", questions, said(**replies))
    assert score.main == "both right"
    assert right_of(score, "both right") == (1, 4)
    assert right_of(score, "both right, tolerant") == (2, 4)
    assert right_of(score, "accuracy") == (4, 8)


def test_a_pair_with_a_failure_counts_neither_as_right_nor_as_wrong() -> None:
    questions = [pick(f"{pair}_{number}", "AB"[number], "c", str(pair)) for pair in range(2) for number in (0, 1)]
    replies: dict[str, ChatReply | str] = {
        **said(**{"0_0": "A", "0_1": "B", "1_0": "A"}),
        "1_1": ChatReply("", "failed", error="server down"),
    }
    score = score_questions("choice", questions, replies)
    assert right_of(score, "both right") == (1, 1)
    assert (score.figures["both right"].floor, score.figures["both right"].ceiling) == (0.5, 1.0)
    assert right_of(score, "both right: c") == (1, 1)
    assert score.failures == {"no reply": 1}
    # A round whose other round is not in the file is no pair.
    alone = score_questions("choice", questions[:3], replies)
    assert right_of(alone, "both right") == (1, 1)
    assert alone.figures["both right"].floor == 1.0


def test_a_model_that_always_says_a_is_seen() -> None:
    questions = [pick("1", "A"), pick("2", "A"), pick("3", "A"), pick("4", "B")]
    always = said(**dict.fromkeys("1234", "A"))
    score = score_questions("choice", questions, always, swapped_replies=always)
    assert right_of(score, "accuracy") == (3, 4)
    assert right_of(score, "accuracy, swapped") == (1, 4)
    assert right_of(score, "right in both orders") == (0, 4)
    assert right_of(score, "says A") == (8, 8)


def test_right_in_both_orders() -> None:
    questions = [pick("1", "A"), pick("2", "B"), pick("3", "A")]
    others = {each.question_id: other for each in questions if (other := swapped(each))}
    assert {own: other.answer for own, other in others.items()} == {"1": "B", "2": "A", "3": "B"}
    replies, swapped_replies = said(**{"1": "A", "2": "B", "3": "A"}), said(**{"1": "B.", "2": "A"})
    score = score_questions("choice", questions, replies, swapped_replies=swapped_replies)
    assert right_of(score, "accuracy, swapped") == (1, 2)  # question 3 was not answered in the other order
    assert right_of(score, "right in both orders") == (1, 2)
    assert right_of(score, "right in both orders, tolerant") == (2, 2)
    assert right_of(score, "says A") == (3, 5)


def test_both_rounds_by_probabilities() -> None:
    questions = [pick(f"0_{number}", "AB"[number], pair="0") for number in (0, 1)]
    always = {own: ChatReply("B", "stop", answers={"A": -2.0, "B": -0.5}) for own in ("0_0", "0_1")}
    others = {
        "0_0": ChatReply("B", "stop", answers={"A": -3.0, "B": -0.4}),
        "0_1": ChatReply("B", "stop", answers={"A": -1.0, "B": -0.6}),
    }
    score = score_questions("choice", questions, always, swapped_replies=others)
    assert right_of(score, "both right") == (0, 1)
    assert right_of(score, "accuracy, orders averaged") == (2, 2)
    assert right_of(score, "both right, orders averaged") == (1, 1)
    without = score_questions("choice", questions, said(**{"0_0": "A", "0_1": "B"}), swapped_replies=others)
    assert "accuracy, orders averaged" not in without.figures


def test_statements() -> None:
    questions = [Question(str(n), Turn("user", ("?",)), PAIR, answer) for n, answer in enumerate(["True", "False"] * 2)]
    score = score_questions("statement", questions, said(**{"0": "True", "1": "true", "2": "yes", "3": "False"}))
    assert right_of(score, "accuracy") == (2, 4)
    assert right_of(score, "accuracy, tolerant") == (3, 4)
    assert right_of(score, "says True") == (3, 4)
    assert "right in both orders" not in score.figures


def test_failures_are_counted_by_reason_and_never_scored() -> None:
    questions = [pick(str(number), "A") for number in range(6)]
    replies: dict[str, ChatReply | str] = {
        "0": ChatReply("A", "stop"),
        "1": ChatReply("B", "length"),
        "2": ChatReply("", "failed", error="time-out"),
        "3": ChatReply("", "refused", error="filtered"),
        "4": "image missing",
    }
    score = score_questions("choice", questions, replies)
    assert (score.questions, score.answered, score.cut) == (6, 2, 1)
    assert score.failures == {"no reply": 1, "refused": 1, "image missing": 1, "not asked": 1}
    figure = score.figures["accuracy"]
    assert (figure.value, figure.floor, figure.ceiling) == (0.5, 1 / 6, 5 / 6)
    assert failure(replies["0"]) is None


def test_open_answers_have_shared_words_and_a_judges_mean() -> None:
    questions = [Question(str(n), Turn("user", ("?",)), PAIR, "a red bus") for n in range(3)]
    replies = said(**{"0": "A red bus.", "1": "a bus", "2": "no idea"})
    plain = score_questions("open", questions, replies)
    assert (plain.main, right_of(plain, "exact")) == ("word F1", (1, 3))
    assert plain.figures["word F1"].value == pytest.approx((1.0 + 0.8 + 0.0) / 3)
    rated = score_questions("open", questions, replies, ratings={"0": 5.0, "1": 3.0, "2": "no rating in its reply"})
    assert rated.main == "rating"
    rating = rated.figures["rating"]
    assert (rating.value, rating.count, rating.unit) == (4.0, 2, "rating")
    assert (rating.floor, rating.ceiling) == (8 / 3, 13 / 3)


def test_a_question_without_a_right_answer_is_counted_and_changes_no_figure() -> None:
    turn = Turn("user", ("?",))
    questions = [Question("0", turn, PAIR, "a red bus"), Question("1", turn, PAIR, "")]
    score = score_questions("open", questions, {"0": "image missing", **said(**{"1": "a bus"})})
    assert (score.main, score.figures["word F1"].value, score.without_answer) == ("word F1", None, 1)
    score = score_questions("open", questions, said(**{"0": "a red bus", "1": "a bus"}))
    assert (score.figures["word F1"].value, score.figures["word F1"].count) == (1.0, 1)
    choices = [pick("0", "A"), pick("1", ""), pick("2", "B")]
    score = score_questions("choice", choices, said(**{"0": "A", "1": "A", "2": "A"}))
    assert (right_of(score, "accuracy"), score.without_answer, score.answered) == ((1, 2), 1, 3)
    unknown = score_questions("open", questions[1:], said(**{"1": "a bus"}))
    assert (unknown.main, right_of(unknown, "answered"), unknown.without_answer) == ("answered", (1, 1), 0)


def test_summaries_are_rated_by_list() -> None:
    text = "Commonalities:\n1. Both show a dog.\nDifferences:\n1. Image 1 shows a cat."
    questions = [Question("0", Turn("user", ("?",)), PAIR, text), Question("1", Turn("user", ("?",)), PAIR, text)]
    replies = said(**{"0": text, "1": "Commonalities:\n1. Both show a dog.\nDifferences:\nNone."})
    ratings = {"0 commonalities": 5.0, "0 differences": 4.0, "1 commonalities": 4.0, "1 differences": 0.0}
    score = score_questions("summary", questions, replies, ratings=ratings)
    assert score.main == "commonalities"
    assert (score.figures["commonalities"].value, score.figures["differences"].value) == (4.5, 2.0)
    assert score.figures["word F1, commonalities"].value == 1.0
    assert score.figures["word F1, differences"].value == 0.5


def test_the_kind_of_a_file_is_that_of_most_questions() -> None:
    questions = [pick("0", "A"), pick("1", "B"), Question("2", Turn("user", ("?",)), (), "a bus")]
    assert question_kind(questions, None) == "choice"
    assert question_kind(questions, "open") == "open"
