"""Annotations as rows of a table, as the parts of `mining.sets.annotations` have them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from mining.sets.annotation import Annotation, Annotator, Turn

__all__ = ["ANNOTATIONS_SCHEMA", "annotation_of", "annotation_row", "annotations_table", "json_object"]

_PART = pa.struct([("text", pa.string()), ("image", pa.int32())])
ANNOTATIONS_SCHEMA = pa.schema(
    [
        ("annotation_id", pa.string()),  # unique in the folder
        ("set_id", pa.string()),
        ("kind", pa.string()),
        ("annotator", pa.string()),  # a model, a person or a tool
        ("annotator_version", pa.string()),
        ("prompt_hash", pa.string()),
        ("parameters", pa.string()),  # a JSON object
        ("turns", pa.list_(pa.struct([("role", pa.string()), ("parts", pa.list_(_PART))]))),
        ("content", pa.string()),  # a JSON object
        ("parent", pa.string()),  # what this one was made from; it replaces a parent of its kind
    ]
)


def annotations_table(annotations: Sequence[Annotation]) -> pa.Table:
    """ANNOTATIONS_SCHEMA for these annotations, in order."""
    return pa.Table.from_pylist([annotation_row(each) for each in annotations], ANNOTATIONS_SCHEMA)


def annotation_row(each: Annotation) -> dict[str, Any]:
    """The annotation as a row of ANNOTATIONS_SCHEMA."""
    return {
        "annotation_id": each.annotation_id,
        "set_id": each.set_id,
        "kind": each.kind,
        "annotator": each.annotator.name,
        "annotator_version": each.annotator.version,
        "prompt_hash": each.annotator.prompt_hash,
        "parameters": json_object(each.annotator.parameters),
        "turns": [
            {
                "role": turn.role,
                "parts": [
                    {"text": part, "image": None} if isinstance(part, str) else {"text": None, "image": part}
                    for part in turn.parts
                ],
            }
            for turn in each.turns
        ],
        "content": json_object(each.content),
        "parent": each.parent,
    }


def annotation_of(row: dict[str, Any]) -> Annotation:
    """The annotation of a row of ANNOTATIONS_SCHEMA, as `pyarrow.Table.to_pylist` gives it."""
    turns = [
        Turn(turn["role"], tuple(part["text"] if part["image"] is None else part["image"] for part in turn["parts"]))
        for turn in row["turns"] or ()
    ]
    parameters = json.loads(row["parameters"]) if row["parameters"] else {}
    annotator = Annotator(row["annotator"], row["annotator_version"], row["prompt_hash"], parameters)
    content = json.loads(row["content"]) if row["content"] else {}
    return Annotation(row["annotation_id"], row["set_id"], row["kind"], annotator, tuple(turns), content, row["parent"])


def json_object(value: Mapping[str, Any]) -> str | None:
    """`value` as JSON, None where it is empty."""
    return json.dumps(dict(value), ensure_ascii=False) if value else None
