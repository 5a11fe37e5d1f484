"""MIMIC-IT's instruction files, such as Scene-Difference: CGD and SD (Li et al., 2023).

SD_instructions.json: {"meta": {...}, "data": {"SD_INS_00001": {"instruction", "answer", "image_ids": [...],
"rel_ins_ids": [...]}}}. The images are in SD.json, an object of base64 texts by image id, or the same in Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from index.errors import BadInput
from mining.sets.annotation import Annotation, Turn
from mining.sets.image_set import ImageSet
from mining.sets.importers.json_stream import read_json
from mining.sets.importers.record import (
    Draft,
    NamedImage,
    RecordRejected,
    Said,
    in_order,
    pick,
    require_text,
    rest_of,
)

__all__ = ["parse_mimic_it", "read_mimic_it", "restore_mimic_it", "write_mimic_it"]

_FIELDS = ("id", "instruction", "answer", "image_ids")


def read_mimic_it(path: str) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """(the file but for its `data`, its records with their id). The file is read as a whole. Raises BadInput."""
    whole = read_json(path)
    if not isinstance(whole, dict) or not isinstance(whole.get("data"), dict):
        raise BadInput(f"{path}: is no instruction file of MIMIC-IT, which has an object `data` of instructions by id")
    data = whole.pop("data")
    return whole, ({"id": name, **value} if isinstance(value, dict) else {"id": name} for name, value in data.items())


def write_mimic_it(header: Mapping[str, Any], records: Iterable[Mapping[str, Any]]) -> bytes:
    """An instruction file of these records. header: what `read_mimic_it` found beside them."""
    data = {record["id"]: {name: value for name, value in record.items() if name != "id"} for record in records}
    return (json.dumps({**header, "data": data}, ensure_ascii=False, indent=1) + "\n").encode()


def parse_mimic_it(record: Mapping[str, Any]) -> Draft:
    """An instruction: the images stand before it. Raises RecordRejected."""
    own, instruction, answer, image_ids = pick(record, _FIELDS)
    if not isinstance(image_ids, list) or not all(isinstance(name, str) for name in image_ids):
        raise RecordRejected("a field of another type", "image_ids is not a list of texts")
    question = (*range(len(image_ids)), require_text(instruction, "instruction"))
    turns = (Turn("user", question), Turn("assistant", (require_text(answer, "answer"),)))
    rest, form = rest_of(record, _FIELDS)
    images = tuple(NamedImage(name) for name in image_ids)
    return Draft(str(own), images, (Said("conversation", turns, {"id": own, **rest}),), form)


def restore_mimic_it(each: ImageSet, own: Sequence[Annotation], form: Mapping[str, Any]) -> dict[str, Any]:
    """The record that `parse_mimic_it` was given."""
    rest = dict(own[0].content)
    question, answer = own[0].turns
    known = {
        "id": rest.pop("id"),
        "instruction": question.text,
        "answer": answer.text,
        "image_ids": [member.key for member in each.members],
    }
    return in_order(known, rest, form)
