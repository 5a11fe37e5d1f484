"""Strategies by name, alone and mixed."""

from __future__ import annotations

import pytest

from index.errors import BadInput
from mining.strategies.registry import parse_mix


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("similar", {"similar": 1.0}),
        ("similar:0.5,random:0.5", {"similar": 0.5, "random": 0.5}),
        ("similar:3, random:1", {"similar": 0.75, "random": 0.25}),
        ("similar,random,identity:2", {"similar": 0.25, "random": 0.25, "identity": 0.5}),
    ],
)
def test_shares_add_up_to_one(text: str, shares: dict[str, float]) -> None:
    assert dict(parse_mix(text)) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "similiar",
            "unknown strategy 'similiar': choose from similar, diverse, identity, overlap, contrast, attribute",
        ),
        ("similar,similar", "names similar twice"),
        ("similar:zero", "a share is a number above 0"),
        ("similar:0", "a share is a number above 0"),
        ("similar:nan", "a share is a number above 0"),
        ("", "unknown strategy ''"),
    ],
)
def test_a_mix_that_cannot_be_read_is_one_line(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse_mix(text)
