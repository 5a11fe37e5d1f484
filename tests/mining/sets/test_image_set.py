"""One set as plain data and as JSON, and what is made of the tables on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.sets.image_set import sets_of
from mining.sets.layouts import read_layout
from tests.mining.made_sets import write_sets


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
    assert {member.entity for member in each.members} == {"Lionel"}


def test_a_similarity_is_rounded_and_nan_is_unknown(sets: ImageSets) -> None:
    assert [each.image_sim for each in sets] == [0.333333, None, None]


def test_json_has_every_field_of_the_set_and_its_members(sets: ImageSets) -> None:
    fields = json.loads(json.dumps(sets[0].to_json(), allow_nan=False))
    assert (fields["set_id"], fields["size"], fields["shared_nouns"]) == ("0_1", 2, ["dog"])
    assert [member["row_id"] for member in fields["members"]] == [0, 1]
    assert set(fields["members"][0]) == {
        *("position", "row_id", "key", "shard", "offset", "bytes", "caption", "sha256", "entity", "scene")
    }


def test_sets_of_a_group_come_in_the_order_asked_for(sets: ImageSets) -> None:
    group = read_layout(sets.path).group(0)
    assert [each.set_id for each in sets_of(group, [2, 0, 1])] == ["4_6", "0_1", "5_2_3"]
    assert list(sets_of(group, [])) == []


def test_an_id_that_does_not_name_the_members_is_refused(sets: ImageSets) -> None:
    path = Path(sets.path) / "sets/sets_0000.parquet"
    table = pq.read_table(path)
    ids = pa.array(["../../etc/passwd", *table["set_id"].to_pylist()[1:]])
    pq.write_table(table.set_column(0, "set_id", ids), path)
    with pytest.raises(BadInput, match=r"set '../../etc/passwd': its id does not name its members"):
        ImageSets.open(sets.path)[0]
