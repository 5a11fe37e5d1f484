from __future__ import annotations

import pyarrow as pa

from retrieval.distinct import distinct_rows


def table(rows: list[tuple[int, str, int]]) -> pa.Table:
    row_id, concept, rank = zip(*rows, strict=True)
    return pa.table({"row_id": pa.array(row_id), "concept": pa.array(concept), "rank": pa.array(rank, pa.int32())})


def test_each_row_comes_once_in_order_with_its_best_rank_and_all_concepts() -> None:
    found = distinct_rows(table([(7, "dog", 3), (2, "dog", 1), (7, "cat", 1), (7, "fox", 3)])).to_pylist()
    assert found == [
        {"row_id": 2, "concept": "dog", "rank": 1, "concepts": ["dog"]},
        {"row_id": 7, "concept": "cat", "rank": 1, "concepts": ["cat", "dog", "fox"]},
    ]


def test_no_rows_give_no_rows() -> None:
    empty = distinct_rows(table([(1, "dog", 1)]).slice(0, 0))
    assert empty.num_rows == 0
    assert empty.schema.field("concepts").type == pa.list_(pa.string())
