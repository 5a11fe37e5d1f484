"""Filters on metadata: which of the rows that a search found meet the conditions of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from index.errors import BadInput
from retrieval.service.schemas import ColumnFilter, Filters

__all__ = ["check", "condition", "filter_columns"]


def filter_columns(filters: Filters) -> tuple[str, ...]:
    """The metadata columns that the filters need, each once."""
    names = [condition.column for condition in filters.columns]
    if filters.min_side is not None:
        names += ["width", "height"]
    return tuple(dict.fromkeys(names))


def condition(filters: Filters) -> Callable[[dict[str, Any]], bool]:
    """A function that says whether a row, given as its `filter_columns`, meets every condition.

    It raises BadInput where values cannot be compared. What is the same for all rows is worked out once, here.
    """
    tests = [(one.column, _test(one)) for one in filters.columns]

    def meets(row: dict[str, Any]) -> bool:
        if filters.min_side is not None:
            sides = row["width"], row["height"]
            if None in sides or min(sides) < filters.min_side:
                return False
        return all(test(row[column]) for column, test in tests)

    return meets


def check(filters: Filters) -> None:
    """Raise BadInput for a condition without its value or with one of the wrong type; called before any search."""
    for place, condition in enumerate(filters.columns):
        where = f"filters.columns[{place}] ({condition.column})"
        wants_list, wants_none = condition.op == "in", condition.op in ("is_null", "not_null")
        if wants_none and condition.value is not None:
            raise BadInput(f"{where}: {condition.op} takes no value")
        if wants_list != isinstance(condition.value, list) and not wants_none:
            raise BadInput(f"{where}: {condition.op} takes {'a list' if wants_list else 'one value'}")
        if not wants_none and condition.value is None:
            raise BadInput(f"{where}: {condition.op} needs a value; use is_null or not_null for missing ones")
        if condition.op == "contains" and not isinstance(condition.value, str):
            raise BadInput(f"{where}: contains takes a text")


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "lt": lambda value, bound: bool(value < bound),
    "le": lambda value, bound: bool(value <= bound),
    "gt": lambda value, bound: bool(value > bound),
    "ge": lambda value, bound: bool(value >= bound),
}


def _test(asked: ColumnFilter) -> Callable[[Any], bool]:
    """The test of one condition, for the value of a row."""
    wanted = asked.value
    if asked.op == "is_null":
        return lambda value: value is None
    if asked.op == "not_null":
        return lambda value: value is not None
    if asked.op == "eq":
        return lambda value: value is not None and bool(value == wanted)
    if asked.op == "ne":
        return lambda value: value is None or bool(value != wanted)
    if asked.op == "in":
        among = frozenset(wanted) if isinstance(wanted, list) else frozenset()
        return lambda value: value is not None and not isinstance(value, list | dict) and value in among
    if asked.op == "contains":
        part = str(wanted).casefold()
        return lambda value: value is not None and _contains(value, part)
    compare = _ORDER[asked.op]

    def in_order(value: Any) -> bool:
        try:
            return value is not None and compare(value, wanted)
        except TypeError as error:
            kind = type(value).__name__
            raise BadInput(f"filter on {asked.column}: its values are {kind}, which {wanted!r:.100} is not") from error

    return in_order


def _contains(value: Any, part: str) -> bool:
    if isinstance(value, list):
        return any(part in str(one).casefold() for one in value)
    return part in str(value).casefold()
