from __future__ import annotations

import pyarrow as pa

from retrieval.distinct_rows import distinct_rows


def ranked(rows: list[tuple[int, str, int]]) -> pa.Table:
    row_id, concept, rank = zip(*rows, strict=True)
    return pa.table({"row_id": pa.array(row_id), "concept": pa.array(concept), "rank": pa.array(rank, pa.int32())})


def test_each_row_comes_once_in_order_with_its_best_rank_and_all_concepts() -> None:
    found = distinct_rows(ranked([(7, "dog", 3), (2, "dog", 1), (7, "cat", 1), (7, "fox", 3)])).to_pylist()
    assert found == [
        {"row_id": 2, "concept": "dog", "rank": 1, "concepts": ["dog"]},
        {"row_id": 7, "concept": "cat", "rank": 1, "concepts": ["cat", "dog", "fox"]},
    ]


def test_no_rows_give_no_rows() -> None:
    empty = distinct_rows(ranked([(1, "dog", 1)]).slice(0, 0))
    assert empty.num_rows == 0
    assert empty.schema.field("concepts").type == pa.list_(pa.string())


def test_the_ids_of_all_concepts_come_with_their_names() -> None:
    table = ranked([(7, "crane", 3), (7, "crane", 1)]).append_column("class_id", pa.array(["134", "517"]))
    (found,) = distinct_rows(table).to_pylist()
    assert (found["class_id"], found["concepts"], found["class_ids"]) == ("517", ["crane", "crane"], ["517", "134"])
