"""How a source is written: a place, a weight or count, and options."""

from __future__ import annotations

import pytest

from customize.lmm.data.source_spec import OPTIONS, SourceSpec
from index.errors import BadInput
from mining.annotate.conversation import CAD_PARTS


def test_every_part_of_the_conversation_is_named() -> None:
    assert OPTIONS["cad"].partition(": ")[2].removesuffix(", with +").split(", ") == list(CAD_PARTS)


def test_a_spec_is_a_place_a_weight_and_options() -> None:
    assert SourceSpec.parse("pairs") == SourceSpec("pairs")
    assert SourceSpec.parse("a/pairs:0.3,kind=x+y,name=mine") == SourceSpec(
        "a/pairs", 0.3, None, {"kind": "x+y", "name": "mine"}
    )
    for weight in (1e-05, 0.1, 1e6):  # as Python writes them
        assert SourceSpec.parse(f"pairs:{weight!r}") == SourceSpec("pairs", weight)
    assert SourceSpec.parse("data.json,count=20") == SourceSpec("data.json", None, 20)
    assert SourceSpec.parse("s3://bucket/data.jsonl:2") == SourceSpec("s3://bucket/data.jsonl", 2.0)
    assert SourceSpec.parse("memory://data.jsonl") == SourceSpec("memory://data.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no file or folder"),
        ("pairs:0", "a weight is above 0"),
        ("pairs,colour=red", "unknown option 'colour'; options: count"),
        ("pairs,kind", "the option kind has no value; write kind=VALUE"),
        ("pairs,kind=", "the option kind has no value"),
        ("pairs,colour", "unknown option 'colour'"),
        ("pairs,kind=a,kind=b", "kind is given twice"),
        ("pairs,count=0", "is not a number of samples from 1 to 100,000,000"),
        ("pairs,count=many", "is not a number of samples from 1"),
        (f"pairs,count={'9' * 5000}", "is not a number of samples from 1"),
        (f"pairs:{'9' * 400}", "a weight is at most 1,000,000"),
        ("pairs:2,count=3", "give a weight or a count"),
    ],
)
def test_specs_without_meaning_are_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as error:
        SourceSpec.parse(text)
    assert "\n" not in str(error.value)
