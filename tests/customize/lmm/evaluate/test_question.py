"""Questions in another order: images are exchanged or options move, and the right letter with them."""

from __future__ import annotations

from dataclasses import replace

from customize.lmm.evaluate.question import Question, kind_of, options_in, pair_ids, swapped
from mining.sets.annotation import Turn
from mining.sets.importers.record import NamedImage

LEFT, RIGHT = NamedImage("left.jpg"), NamedImage("right.jpg")
OPTIONS = {"A": "Image 1", "B": "Image 2"}


def pick(answer: str = "A", own: str = "0") -> Question:
    text = '\nWhich image suits the caption "a dog" better?\nA. Image 1\nB. Image 2\nAnswer by letter.'
    turn = Turn("user", ("Image 1: ", 0, "\nImage 2: ", 1, text))
    return Question(own, turn, (LEFT, RIGHT), answer, options_in(turn.text))


def test_options_are_the_lettered_lines_in_order() -> None:
    assert options_in("What is it?\nA. A dog.\nB. A cat.\nC. Nothing\nAnswer") == {
        "A": "A dog.",
        "B": "A cat.",
        "C": "Nothing",
    }
    assert options_in("(A) one\n(B) two") == {"A": "one", "B": "two"}
    assert options_in("A. only one") == {}
    assert options_in("B. two\nA. one") == {}
    assert options_in("no lines") == {}


def test_the_kind_of_a_question_is_told_by_its_answer() -> None:
    assert kind_of(pick()) == "choice"
    assert kind_of(replace(pick(), options={}, answer="True")) == "statement"
    assert kind_of(replace(pick(), options={}, answer="A red bus.")) == "open"
    assert kind_of(replace(pick(), answer="C")) == "open"


def test_two_images_are_exchanged_and_the_answer_gets_the_other_letter() -> None:
    other = swapped(pick("A"))
    assert other is not None
    assert (other.images, other.answer) == ((RIGHT, LEFT), "B")
    assert other.turn == pick().turn
    assert swapped(other) == pick("A")


def test_other_options_move_up_by_a_letter() -> None:
    turn = Turn("user", (0, "\nWhat is it?\nA. dog\nB. cat\nC. cow\nAnswer by letter."))
    asked = Question("0", turn, (LEFT,), "B", options_in(turn.text))
    other = swapped(asked)
    assert other is not None
    assert other.turn.text == "\nWhat is it?\nA. cat\nB. cow\nC. dog\nAnswer by letter."
    assert (other.options, other.answer) == ({"A": "cat", "B": "cow", "C": "dog"}, "A")
    first = swapped(replace(asked, answer="A"))
    assert first is not None
    assert first.options[first.answer] == "dog"


def test_statements_and_open_questions_have_no_other_order() -> None:
    assert swapped(replace(pick(), options={}, answer="True")) is None
    assert swapped(replace(pick(), images=(LEFT,), turn=Turn("user", (0, "?")))) is None


def test_pairs_are_two_rounds_about_the_same_images() -> None:
    rounds = [pick("A", "0_0"), pick("B", "0_1"), pick("A", "x_1_0"), pick("B", "x_1_1")]
    assert pair_ids(rounds) == {"0_0": "0", "0_1": "0", "x_1_0": "x_1", "x_1_1": "x_1"}
    assert pair_ids(rounds[:3]) == {}
    assert pair_ids([pick(own="17")]) == {}
    assert pair_ids([rounds[0], replace(rounds[1], images=(RIGHT, LEFT))]) == {}


def test_the_words_of_a_question_leave_out_where_images_stand() -> None:
    assert pick().words.startswith("Which image suits")
    assert Question("0", Turn("user", (0, "\nWhat?")), (LEFT,), "").words == "What?"
