from __future__ import annotations

import pytest

from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.annotation_rows import ANNOTATIONS_SCHEMA, annotation_of, annotation_row, annotations_table
from tests.mining.made_sets import annotation

SAID = [
    annotation("a", "a <image> of a dog", images=(1, 0), options=["A", {"b": None}], parent="older"),
    Annotation.make("b", "attribute", Annotator("Ann"), content={"axis": "Farbe"}),
    Annotation.make("c", "story", Annotator("m", "1", "3f", {"t": 0.5}), (Turn("system", ("",)), Turn("user", ()))),
]


def test_annotations_come_back_from_a_table() -> None:
    table = annotations_table(SAID)
    assert table.schema == ANNOTATIONS_SCHEMA
    assert [annotation_of(row) for row in table.to_pylist()] == SAID
    assert annotations_table([]).schema == ANNOTATIONS_SCHEMA


@pytest.mark.parametrize("said", SAID)
def test_a_row_has_a_column_for_every_field_and_a_text_or_an_image_in_each_part(said: Annotation) -> None:
    row = annotation_row(said)
    assert list(row) == ANNOTATIONS_SCHEMA.names
    assert all((part["text"] is None) != (part["image"] is None) for turn in row["turns"] for part in turn["parts"])


def test_a_row_without_turns_and_objects_is_an_annotation_that_says_nothing() -> None:
    row = dict.fromkeys(ANNOTATIONS_SCHEMA.names) | {"annotation_id": "1", "set_id": "a", "kind": "k", "annotator": "m"}
    assert annotation_of(row) == Annotation("1", "a", "k", Annotator("m"))
