from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from mining.annotate.comparison import Comparison, Item
from tests.mining.annotate.made_pairs import COMPARED


def test_its_text_has_numbered_lists() -> None:
    assert COMPARED.text() == (
        "Commonalities:\n1. Both images show a bus.\nDifferences:\n"
        "1. Image 1 shows a red bus, Image 2 a blue bus.\n2. Image 2 is set in a park."
    )
    assert Comparison().text() == "Commonalities:\nNone.\nDifferences:\nNone."
    assert COMPARED.text(("commonalities",)) == "Commonalities:\n1. Both images show a bus."


def test_json_and_back() -> None:
    assert Comparison.from_json(COMPARED.to_json()) == COMPARED


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"commonalities": [], "differences": "no"},
        {"commonalities": [{}], "differences": []},
        {"commonalities": [1]},
    ],
)
def test_other_json_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        Comparison.from_json(value)


def test_an_unknown_axis_is_refused() -> None:
    with pytest.raises(BadInput, match="choose one of"):
        Item("Red.", "colour")
