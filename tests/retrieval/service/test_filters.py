from __future__ import annotations

from typing import Any

import pytest

from index.errors import BadInput
from retrieval.service.filters import check, condition, filter_columns
from retrieval.service.schemas import ColumnFilter, Filters


def filters_of(op: str, value: Any = None) -> Filters:
    return Filters(columns=[ColumnFilter(column="c", op=op, value=value)])


def meets(filters: Filters, row: dict[str, Any]) -> bool:
    return condition(filters)(row)


@pytest.mark.parametrize(
    ("op", "value", "good", "bad"),
    [
        ("eq", 3, [3], [4, None]),
        ("ne", 3, [4, None], [3]),
        ("lt", 3, [2], [3, None]),
        ("le", 3, [3], [4]),
        ("gt", 3, [4], [3, None]),
        ("ge", 3, [3], [2]),
        ("in", ["a", "b"], ["a"], ["c", None, ["a"], {"a": "b"}]),
        ("contains", "DOG", ["a dog", ["cats", "Dogs"]], ["a cat", ["cat"], None]),
        ("is_null", None, [None], [0, ""]),
        ("not_null", None, [0, ""], [None]),
    ],
)
def test_each_comparison(op: str, value: Any, good: list[Any], bad: list[Any]) -> None:
    filters = filters_of(op, value)
    check(filters)
    assert [meets(filters, {"c": found}) for found in good] == [True] * len(good)
    assert [meets(filters, {"c": found}) for found in bad] == [False] * len(bad)


def test_the_shorter_side_decides_and_an_unknown_size_is_too_small() -> None:
    filters = Filters(min_side=10)
    sizes = [(10, 20), (20, 9), (None, 20)]
    assert [meets(filters, {"width": width, "height": height}) for width, height in sizes] == [True, False, False]


def test_every_condition_must_hold_and_its_column_is_asked_for_once() -> None:
    columns = [ColumnFilter(column="c", op="gt", value=1), ColumnFilter(column="c", op="lt", value=5)]
    filters = Filters(columns=columns, min_side=1)
    assert filter_columns(filters) == ("c", "width", "height")
    assert filter_columns(Filters(min_score=0.5)) == ()
    assert not meets(filters, {"c": 5, "width": 3, "height": 3})


@pytest.mark.parametrize(
    ("op", "value", "says"),
    [
        ("in", "a", "in takes a list"),
        ("eq", ["a"], "eq takes one value"),
        ("eq", None, "eq needs a value"),
        ("is_null", 1, "is_null takes no value"),
        ("contains", 3, "contains takes a text"),
    ],
)
def test_a_condition_without_its_kind_of_value_is_refused(op: str, value: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check(filters_of(op, value))


def test_values_that_cannot_be_compared_are_an_error() -> None:
    with pytest.raises(BadInput, match="filter on c: its values are str, which 3 is not"):
        meets(filters_of("lt", 3), {"c": "a"})


def test_a_long_list_of_values_is_no_more_work_a_row_than_a_short_one() -> None:
    class Counted(str):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    meets_all = condition(filters_of("in", [f"v{number}" for number in range(100_000)]))
    assert [meets_all({"c": Counted(f"v{number}")}) for number in range(99_000, 99_010)] == [True] * 10
    assert Counted.compared < 1_000
