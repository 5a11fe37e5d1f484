"""One set as plain data and as JSON, and what is made of the tables on disk."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mining import ImageSets
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.image_set import ImageSet, Member, sets_of
from mining.sets.layouts import read_layout
from tests.mining.made_sets import annotation, write_sets


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    return write_sets(
        tmp_path,
        [[0, 1], [5, 2, 3], [4, 6]],
        image_sim=[1 / 3, float("nan"), None],
        shared_nouns=[["dog"], [], []],
        entity=[None, "Lionel", None],
    )


def test_rows_size_and_captions_are_those_of_the_members(sets: ImageSets) -> None:
    each = sets[1]
    assert (each.size, each.rows, each.captions) == (3, (5, 2, 3), ("caption 5", "caption 2", "caption 3"))
    assert [member.position for member in each.members] == [0, 1, 2]
    assert each.entity == "Lionel"


def test_a_similarity_is_rounded_and_nan_is_unknown(sets: ImageSets) -> None:
    assert [each.image_sim for each in sets] == [0.333333, None, None]


def test_json_has_every_field_of_the_set_its_members_and_its_annotations(sets: ImageSets) -> None:
    fields = json.loads(json.dumps(sets[0].to_json(), allow_nan=False))
    assert (fields["set_id"], fields["size"], fields["shared_nouns"]) == (sets[0].set_id, 2, ["dog"])
    assert [member["row_id"] for member in fields["members"]] == [0, 1]
    assert set(fields["members"][0]) == {field.name for field in dataclasses.fields(Member)}
    assert set(fields) == {field.name for field in dataclasses.fields(ImageSet)} | {"size"}
    said = replace(sets[0], annotations=(annotation(sets[0].set_id, "a dog"),)).to_json()["annotations"]
    assert [turn["role"] for turn in said[0]["turns"]] == ["user", "assistant"]


def test_sets_of_a_group_come_in_the_order_asked_for(sets: ImageSets) -> None:
    group = read_layout(sets.path).group(0)
    assert [each.rows for each in sets_of(group, [2, 0, 1])] == [(4, 6), (0, 1), (5, 2, 3)]
    assert list(sets_of(group, [])) == []


@pytest.mark.parametrize(
    ("known", "name"),
    [
        ({"row_id": 0, "path": "a.jpg"}, "s/0"),
        ({"path": "a.jpg", "url": "http://x/1", "sha256": "ff"}, "s/a.jpg"),
        ({"url": "http://x/1", "key": "k", "sha256": "ff"}, "s/http://x/1"),
        ({"shard": "a.tar", "key": "1.jpg", "offset": 512}, "s/a.tar:1.jpg"),
        ({"shard": "a.tar", "offset": 512}, "s/a.tar:512"),
        ({"key": "k", "sha256": "ff"}, "s/k"),
        ({"sha256": "ff"}, "s/ff"),
    ],
)
def test_a_member_is_named_by_the_best_that_is_known(known: dict[str, Any], name: str) -> None:
    assert Member(0, "s", **known).ref == name


def test_sets_of_the_same_images_have_the_same_names(sets: ImageSets) -> None:
    one, other = sets[0], replace(sets[0], members=sets[0].members[::-1], set_id="another")
    assert one.refs == other.refs == tuple(sorted(member.ref for member in one.members))
    assert ImageSet("t", "text", ()).refs == ("set/t",)


def test_an_image_set_without_members_has_none() -> None:
    each = ImageSet("t", "text", ())
    assert (each.size, each.rows, each.captions, each.to_json()["members"]) == (0, (), (), [])


def test_a_set_comes_back_from_its_json() -> None:
    said = Annotation.make("a/1", "question", Annotator("ann"), (Turn("user", (0, "Why?")),), {"options": ["A"]})
    members = (Member(0, "store-0", row_id=4, captions=("a bus",), extra={"truth": {"place": "hall"}}),)
    each = ImageSet("a/1", "similar", members, 2, 0.5, shared_nouns=("bus",), reasons=("look",), annotations=(said,))
    assert ImageSet.from_json(json.loads(json.dumps(each.to_json()))) == each
