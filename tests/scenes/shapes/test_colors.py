from __future__ import annotations

import pytest

from scenes.shapes.colors import FIXED_COLORS, explicit_color, parse_color
from scenes.shapes.expressions import GrammarError


@pytest.mark.parametrize(
    ("token", "color", "shade"),
    [
        ("main", "main", 1.0),
        ("wood:1.2", "wood", 1.2),
        ("dark:w/4", "dark", 2.0),
        ("hsl(0.1,0.5,0.5)", "hsl(0.1,0.5,0.5)", 1.0),
        ("cap", "red", 1.0),
        ("trim:0.5", "blue", 0.25),
        ("mane", "mane", 1.0),
    ],
)
def test_a_token_is_a_role_a_color_or_a_parameter_with_a_factor(token: str, color: str, shade: float) -> None:
    assert parse_color(token, {"w": 8.0, "cap": "red", "trim": "blue:0.5"}, ("mane",)) == (color, shade)


def test_a_parameter_with_the_name_of_a_color_replaces_it_only_by_a_color() -> None:
    assert parse_color("horn", {"horn": "curved"}, ())[0] == "horn"
    assert parse_color("horn", {"horn": "gold"}, ())[0] == "gold"


def test_an_unknown_color_is_named() -> None:
    with pytest.raises(GrammarError, match="unknown colour 'mauve'"):
        parse_color("mauve", {}, ())


def test_explicit_colors_are_fixed_ones_and_hsl() -> None:
    assert explicit_color("red") == FIXED_COLORS["red"]
    assert explicit_color("hsl(0.1,0.5,0.25)") == (0.1, 0.5, 0.25)
    assert explicit_color("main") is None
