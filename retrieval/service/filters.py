"""Filters on metadata: which of the rows that a search found meet the conditions of a request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from index.errors import BadInput
from retrieval.service.schemas import ColumnFilter, Filters

__all__ = ["filter_columns", "meets"]


def filter_columns(filters: Filters) -> tuple[str, ...]:
    """The metadata columns that the filters need, each once."""
    names = [condition.column for condition in filters.columns]
    if filters.min_side is not None:
        names += ["width", "height"]
    return tuple(dict.fromkeys(names))


def meets(filters: Filters, row: dict[str, Any]) -> bool:
    """Whether a row, given as its `filter_columns`, meets every condition. BadInput where values cannot be compared."""
    if filters.min_side is not None:
        sides = row["width"], row["height"]
        if None in sides or min(sides) < filters.min_side:
            return False
    return all(_holds(condition, row[condition.column]) for condition in filters.columns)


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


def _holds(condition: ColumnFilter, value: Any) -> bool:
    wanted = condition.value
    if condition.op == "is_null":
        return value is None
    if condition.op == "not_null":
        return value is not None
    if value is None:
        return condition.op == "ne"
    if condition.op == "eq":
        return bool(value == wanted)
    if condition.op == "ne":
        return bool(value != wanted)
    if condition.op == "in":
        return isinstance(wanted, list) and value in wanted
    if condition.op == "contains":
        if isinstance(value, list):
            return any(str(wanted).casefold() in str(part).casefold() for part in value)
        return str(wanted).casefold() in str(value).casefold()
    try:
        return _ORDER[condition.op](value, wanted)
    except TypeError as error:
        kind = type(value).__name__
        raise BadInput(f"filter on {condition.column}: its values are {kind}, which {wanted!r} is not") from error
