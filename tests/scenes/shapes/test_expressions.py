from __future__ import annotations

import pytest

from scenes.shapes.expressions import GrammarError, calculate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2.5", 2.5),
        (".5", 0.5),
        ("a*2+(b-1)/4", 7.0),
        ("-a*2+(b-1)/4", -5.0),
        ("a-b-1", -3.0),
        ("12/a/2", 2.0),
        ("--a", 3.0),
        ("+a", 3.0),
    ],
)
def test_numbers_names_and_four_operations_are_calculated(text: str, value: float) -> None:
    assert calculate(text, {"a": 3.0, "b": 5.0}) == value


@pytest.mark.parametrize("text", ["2**3", "a.b", "(1", "1 2", "", "1+", "__import__", "word", "missing"])
def test_anything_else_is_an_error_that_quotes_the_text(text: str) -> None:
    with pytest.raises(GrammarError):
        calculate(text, {"a": 1.0, "word": "red"})


def test_a_division_by_zero_is_an_error() -> None:
    with pytest.raises(GrammarError, match="division by zero in '1/0'"):
        calculate("1/0", {})
