from __future__ import annotations

from typing import Any

import pytest

from scenes.shapes.expressions import GrammarError
from scenes.shapes.grammar import expand

PLANS = {
    "post": {
        "params": {"w": 10, "cap": "red", "knob": "none"},
        "let": {"half": "w/2"},
        "groups": {"top": "0 40"},
        "parts": [
            "box main -half 0 half 40 id=pole",
            "oval cap 0 45 5 5 g=top id=ball",
            "oval gold 0 52 2 2 if=knob:big",
        ],
        "poses": {"leaning": {"all": -20}, "nodding": {"top": [0, 10, 0]}},
    }
}


def test_a_line_becomes_a_part_with_its_options() -> None:
    line = "oval main:0.5 1 2 3 4 rot=30 mir=5 rep=3,10,0 around=6,0,50 a=0.5 id=eye far flat noline only=up not=down"
    (part,) = expand({"parts": [line], "poses": {"up": {"all": 1}, "down": {"all": 2}}}, {}).parts
    assert (part.shape, part.color, part.shade, part.numbers) == ("oval", "main", 0.5, (1, 2, 3, 4))
    assert (part.rotation, part.mirror, part.repeat, part.around) == (30, 5, (3, 10, 0), (6, 0, 50, 360))
    assert (part.alpha, part.id, part.far, part.flat, part.outlined) == (0.5, "eye", True, True, False)
    assert (part.only, part.without) == (("up",), ("down",))


def test_a_type_fills_in_its_plan_and_adds_lines_at_a_place() -> None:
    draw = {"plan": "post", "set": "w=20 cap=blue", "parts": ["oval black 0 20 2 2 under=ball"]}
    drawing = expand(draw, PLANS)
    assert [part.color for part in drawing.parts] == ["main", "black", "blue"]
    assert drawing.parts[0].numbers == (-10, 0, 10, 40)
    assert len(expand({"plan": "post", "set": "knob=big", "drop": ["pole"]}, PLANS).parts) == 2
    behind = expand({"plan": "post", "back": ["box red 0 0 1 1"]}, PLANS)
    assert behind.parts[0].color == "red"


def test_conditions_choose_lines() -> None:
    lines = ["oval red 0 0 1 1 if=ear:round|flat", "oval blue 0 0 1 1 if=horn&!tail", "oval black 0 0 1 1 if=!horn"]
    plans = {"head": {"params": {"ear": "flat", "horn": 2, "tail": "none"}, "parts": lines}}
    assert [part.color for part in expand({"plan": "head"}, plans).parts] == ["red", "blue"]
    assert [part.color for part in expand({"plan": "head", "set": "ear=long horn=0"}, plans).parts] == ["black"]


def test_feature_parts_are_anchored_at_their_group_or_at_a_point() -> None:
    groups = {"head": "30 60"}
    lines = ["oval main 0 0 1 1 g=head f", "oval main 0 0 1 1 f=10,20", "oval main 0 0 1 1"]
    assert [part.feature for part in expand({"parts": lines, "groups": groups}, {}).parts] == [(30, 60), (10, 20), None]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        ({"plan": "post", "set": "height=3"}, "has no parameter 'height'"),
        ({"plan": "post", "set": "w="}, "'w' has no value"),
        ({"plan": "post", "set": 3}, "set must be text or an object"),
        ({"parts": ["box main 0 0 1 1 if=wings"]}, "unknown parameter 'wings' in the line"),
        ({"parts": ["box main 0 0 1 1 over=head"]}, "unknown id 'head'"),
        ({"parts": ["box main 0 0 1 1 only=flying"]}, "unknown pose 'flying'"),
        ({"parts": ["box main 0 0 1 1 rep=3"]}, "rep= takes 3 to 3 values"),
        ({"parts": ["box main 0 0 1 1"], "groups": {"jaw": "1 2 head"}}, "the parent before it"),
        ({"parts": ["box main 0 0 1 1"], "poses": {"up": {"all": [1, 2, 3, 4]}}}, "degrees, or"),
        ({"parts": []}, "draws nothing"),
    ],
)
def test_a_mistake_is_named(draw: dict[str, Any], message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        expand(draw, PLANS)
