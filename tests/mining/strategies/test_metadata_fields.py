"""Dotted fields of the metadata."""

from __future__ import annotations

import pyarrow as pa
import pytest

from mining.strategies.metadata_fields import field_values, row_values


@pytest.mark.parametrize(
    ("value", "field", "found"),
    [
        ({"a": {"b": "x"}}, "a.b", ["x"]),
        ({"a": [{"b": "x"}, {"b": "y"}, {"c": 1}]}, "a.b", ["x", "y"]),
        ({"a": '{"b": 3}'}, "a.b", [3]),
        ({"a": [["x"], ["y"]]}, "a", ["x", "y"]),
        ({"a": None}, "a", []),
        ({"a": ""}, "a", []),
        ({"a": True}, "a", []),
        ({"a": "{broken"}, "a.b", []),
        ({"a": {"b": 1}}, "a", []),
        ("text", "a", []),
    ],
)
def test_values_are_found_through_objects_lists_and_json_text(value: object, field: str, found: list[object]) -> None:
    assert field_values(value, field.split(".")) == found


def test_a_field_is_in_extra_or_in_a_column_of_its_name() -> None:
    table = pa.table({"extra": ['{"who": ["a", "a", "b"]}', None], "tags": [["x", "y"], []]})
    assert row_values(table, "extra", "who") == [["a", "b"], []]
    assert row_values(table, "extra", "extra.who") == [["a", "b"], []]
    assert row_values(table, "tags", "tags") == [["x", "y"], []]
