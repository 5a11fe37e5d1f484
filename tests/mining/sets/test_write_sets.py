from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.export import torch_stream
from mining.sets import write_sets
from mining.sets.write_sets import ImageSetsWriter, members_table, set_ids, write_image_sets
from retrieval.selection import describe_store
from tests.folders import file_bytes
from tests.mining.made_sets import many_pairs, sets_table
from tests.mining.made_sets import write_sets as write
from tests.retrieval.stores import forget, make_store, random_unit


def test_a_set_id_is_the_row_ids_in_their_order() -> None:
    rows = pa.array([[3, 1], [12, 345, 7]], pa.list_(pa.int64()))
    assert set_ids(rows).to_pylist() == ["3_1", "12_345_7"]
    assert set_ids(rows.slice(1)).to_pylist() == ["12_345_7"]
    assert set_ids(pa.chunked_array([rows, rows.slice(1)])).to_pylist() == ["3_1", "12_345_7", "12_345_7"]


def test_the_same_sets_give_the_same_bytes_in_whatever_pieces_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_sets, "PART_SETS", 1_000)
    store = make_store(tmp_path, random_unit(80))
    rows = many_pairs(80, 2_300)
    for name, size in (("one", 2_300), ("several", 700)):
        writer = ImageSetsWriter(tmp_path / name)
        for first in range(0, len(rows), size):
            sets = sets_table(rows[first : first + size])
            writer.add(sets, members_table(store, sets))
        writer.finish({"seed": 3})
    assert file_bytes(tmp_path / "one") == file_bytes(tmp_path / "several")
    opened = ImageSets.open(tmp_path / "one")
    assert [part["rows"] for part in opened.manifest["parts"]] == [1_000, 1_000, 300]
    assert (opened.manifest["sets"], opened.manifest["members"], opened.manifest["seed"]) == (2_300, 4_600, 3)
    assert [list(each.rows) for each in opened] == rows


def test_sets_may_lie_in_an_object_store(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(12))
    sets = sets_table([[0, 1], [2, 3]])
    fields = {"store": describe_store(store, "memory://bucket/pairs")}
    written = write_image_sets("memory://bucket/pairs", sets, members_table(store, sets), fields)
    assert [each.rows for each in written] == [(0, 1), (2, 3)]
    assert [sample["set_id"] for sample in torch_stream(written, seed=None)] == ["0_1", "2_3"]


def test_no_sets_at_all_are_a_complete_folder(tmp_path: Path) -> None:
    sets = write(tmp_path, [])
    assert len(sets) == 0
    assert list(sets) == []
    assert sets.counts() == {}
    assert len(sets.filter(level=1)) == 0
    assert sets.split({"train": 0.5, "test": 0.5}).counts() == {"train": 0, "test": 0, "straddling": 0}


def test_columns_that_may_be_null_may_be_missing(tmp_path: Path) -> None:
    sets = sets_table([[0, 1]]).drop_columns(["axis", "text_sim"])
    members = pa.table({"set_id": ["0_1", "0_1"], "position": [0, 1], "row_id": [0, 1]})
    written = write_image_sets(tmp_path / "pairs", sets, members, {})
    assert written[0].captions == (None, None)
    assert written[0].axis is None


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"set_id": ["0_1"], "position": [0], "row_id": [0]}, "1 members given, the sets' sizes add up to 2"),
        ({"set_id": ["0_1", "0_2"], "position": [0, 1], "row_id": [0, 1]}, "not those of the sets in their order"),
        ({"set_id": ["0_1", "0_1"], "position": [0, 1], "row_id": [1, 0]}, "not those of the sets in their order"),
    ],
)
def test_members_that_are_not_those_of_the_sets_are_refused(
    tmp_path: Path, members: dict[str, list[object]], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        write_image_sets(tmp_path / "pairs", sets_table([[0, 1]]), pa.table(members), {})


def test_a_set_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="a set_id comes twice"):
        write(tmp_path, [[0, 1], [0, 1]])


def test_forgotten_rows_have_no_key_and_no_caption(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(6))
    forget(store, [1])
    member = write(tmp_path, [[0, 1]], store=store)[0].members[1]
    assert (member.row_id, member.key, member.caption, member.scene) == (1, None, None, None)
