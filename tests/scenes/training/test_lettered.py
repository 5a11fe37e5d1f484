from __future__ import annotations

import random
from collections import Counter

from scenes.training.lettered import DIRECTLY, as_choice


def test_a_lettered_question_names_the_letter_of_the_answer_and_favours_none() -> None:
    rng, letters = random.Random(1), Counter[tuple[int, str]]()
    for _ in range(6_000):
        asked, letter = as_choice(rng, "What color is the car?", "red", ["blue", "red", "green", "blue", "white"])
        lines = asked.split("\n")
        assert (lines[0], lines[-1]) == ("What color is the car?", DIRECTLY)
        options = [line.split(". ", 1) for line in lines[1:-1]]
        assert [name for name, _ in options] == list("ABCD")[: len(options)]
        assert dict(options)[letter] == "red"
        assert len({text for _, text in options}) == len(options) >= 2
        letters[len(options), letter] += 1
    shares = {key: count / sum(letters[key[0], name] for name in "ABCD") for key, count in letters.items()}
    assert all(abs(share - 1 / count) < 0.05 for (count, _), share in shares.items())
    assert {count for count, _ in letters} == {2, 3, 4}


def test_a_question_whose_answer_has_no_other_stays_as_it_is() -> None:
    assert as_choice(random.Random(0), "What is it?", "red", ["red", "red"]) == ("What is it?", "red")
