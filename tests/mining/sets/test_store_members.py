from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from mining.sets.layouts import MEMBERS_SCHEMA
from mining.sets.store_members import members_table, mined_set_ids
from tests.retrieval.stores import forget, make_store, random_unit

SOURCE = "store-0123456789ab"


def rows_of(rows: list[list[int]]) -> pa.Array:
    return pa.array(rows, pa.list_(pa.int64()))


def test_a_mined_set_id_has_the_store_and_the_row_ids_in_their_order() -> None:
    rows = rows_of([[3, 1], [12, 345, 7]])
    assert mined_set_ids(SOURCE, rows).to_pylist() == ["01234567-3_1", "01234567-12_345_7"]
    assert mined_set_ids(SOURCE, rows.slice(1)).to_pylist() == ["01234567-12_345_7"]
    chunks = pa.chunked_array([rows, rows.slice(1)])
    assert mined_set_ids(SOURCE, chunks).to_pylist() == ["01234567-3_1", "01234567-12_345_7", "01234567-12_345_7"]
    assert mined_set_ids(SOURCE, rows_of([])).to_pylist() == []


def test_the_id_of_many_rows_is_short_and_still_its_own() -> None:
    long = mined_set_ids(SOURCE, rows_of([list(range(60)), list(range(1, 61)), [1, 2]])).to_pylist()
    assert [len(each) for each in long] == [33, 33, 12]
    assert long[0] != long[1]
    assert mined_set_ids(SOURCE, rows_of([list(range(60))])).to_pylist() == long[:1]


def test_members_have_what_the_store_knows_of_their_rows(tmp_path: Path) -> None:
    extra = [json.dumps({"truth": {"objects": [row]}}) for row in range(4)] + ['{"x": NaN}', None]
    store = make_store(tmp_path, random_unit(6), extra=extra)
    ids = pa.array(["a", "b"])
    table = members_table(store, SOURCE, ids, rows_of([[5, 0], [4, 0, 2]]))
    assert table.schema == MEMBERS_SCHEMA
    assert table["set_id"].to_pylist() == ["a", "a", "b", "b", "b"]
    assert table["position"].to_pylist() == [0, 1, 0, 1, 2]
    assert table["row_id"].to_pylist() == [5, 0, 4, 0, 2]
    assert table["key"].to_pylist() == ["k0005", "k0000", "k0004", "k0000", "k0002"]
    assert table["extra"].to_pylist() == [None, extra[0], '{"x": null}', extra[0], extra[2]]
    assert set(table["source"].to_pylist()) == {SOURCE}
    place = store.metadata([4], ["shard", "offset", "size", "sha256"]).to_pylist()[0]
    member = table.slice(2, 1).to_pylist()[0]
    assert (member["shard"], member["offset"], member["bytes"], member["sha256"]) == tuple(place.values())


def test_a_caption_that_the_reasons_speak_of_stands_for_the_embedded_one(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(4))
    captions = pa.array([["another", None], None, ["of another", "number", "of members"]], pa.list_(pa.string()))
    table = members_table(store, SOURCE, pa.array(["a", "b", "c"]), rows_of([[0, 1], [2, 3], [1, 2]]), captions)
    assert table["caption"].to_pylist() == ["another", *(f"caption {row}" for row in (1, 2, 3, 1, 2))]
    assert table["captions"].to_pylist()[0] == ["caption 0"]


def test_no_sets_have_no_members_and_forgotten_rows_nothing_but_their_id(tmp_path: Path) -> None:
    store = make_store(tmp_path, random_unit(4))
    assert members_table(store, SOURCE, pa.array([], pa.string()), rows_of([])).num_rows == 0
    forget(store, [1])
    (member,) = members_table(store, SOURCE, pa.array(["a"]), rows_of([[1]])).to_pylist()
    known = {name: value for name, value in member.items() if value is not None}
    assert known == {"set_id": "a", "position": 0, "source": SOURCE, "row_id": 1}
