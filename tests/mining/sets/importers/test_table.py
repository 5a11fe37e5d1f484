"""Any table by a mapping of its columns: what can be mapped, and that every row comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput
from mining.sets.importers import export_records
from mining.sets.importers.record import RecordRejected
from mining.sets.importers.table import ColumnMap, parse_mapping
from tests.mining.sets.importers.made_files import GPT, HUMAN, image_file, import_file, round_trip, sha256

MAPPINGS: list[tuple[str, list[Any]]] = [
    ("image=file,caption=text", [{"file": "a.jpg", "text": "A bus.", "n": 1}, {"text": None, "file": "b.jpg"}]),
    ("image=a,caption=ca,image=b,caption=cb", [{"a": "1.jpg", "ca": "One.", "b": "2.jpg", "cb": "Two."}]),
    ("image=0,caption=1,image=2,caption=3", [["https://x.org/1.jpg", "One.", "https://x.org/2.jpg", "Two."]]),
    (
        "id=id,image=image,caption=captions",
        [{"id": "1", "image": "1.jpg", "captions": ["a", "b"], "boxes": [{"b": 1}]}],
    ),
    ("image=i,caption=c", [{"i": "a.jpg", "c": []}, {"i": "b.jpg", "c": None}]),
    ("image=i,caption=c", [{"i": ["a.jpg", "b.jpg"], "c": ["A", "B"]}, {"i": ["a", "b"], "c": [["A", "AA"], ["B"]]}]),
    ("image=i,caption=c", [{"i": "['a.jpg', 'b.jpg']", "c": "['A', 'B']"}, {"i": ["a", "b"], "c": None}]),
    (
        "image=i,question=q,answer=a",
        [{"i": "a.jpg", "q": "What?", "a": "A bus."}, {"i": "a.jpg", "q": "<image> What?", "a": "x"}],
    ),
    ("image=i,question=q,answer=a", [{"i": ["a", "b"], "q": "Same?", "a": True}, {"i": None, "q": "1 + 1?", "a": 2}]),
    ("question=q", [{"q": "What is an <img> tag?"}]),
    ("answer=text,id=question_id", [{"question_id": 0, "text": "Black and brown.", "category": "conv"}]),
    ("image=i,answer=label", [{"i": ["a.jpg"], "label": 0.5}, {"i": "a.jpg", "label": ""}]),
    (
        "image=i,conversations=c,split=s",
        [{"i": ["a", "b"], "c": [HUMAN, GPT], "s": "val"}, {"i": ["a", "b"], "c": [HUMAN, GPT], "s": 3}],
    ),
    ("image=i,conversations=m", [{"i": "a", "m": [{"role": "user", "content": [{"type": "image"}]}]}]),
    ("image=i", [{"i": "a.jpg", "record": 1, "x": None}, {"i": "", "x": 2}, {"i": [], "x": 3}]),
]


@pytest.mark.parametrize(("mapping", "rows"), MAPPINGS)
def test_rows_come_back(tmp_path: Path, mapping: str, rows: list[Any]) -> None:
    sets = round_trip(tmp_path, "table", rows, mapping=parse_mapping(mapping))
    assert sets.manifest["import"]["imported"] == len(rows)


def test_a_row_with_images_but_without_its_texts_is_a_set_without_an_annotation(tmp_path: Path) -> None:
    rows: list[Any] = [{"i": ["a", "b"], "c": ["A", "B"], "note": "A bus."}, {"i": ["a", "b"], "c": ["A", "B"]}]
    rows += [{"i": ["a", "b"], "c": ["A", "B"], "note": None}]
    sets = round_trip(tmp_path, "table", rows, mapping=parse_mapping("image=i,caption=c,answer=note"))
    said = sets.manifest["import"]
    assert (said["imported"], said["annotations"], said["without_annotation"]) == (3, 1, 2)
    assert [member.caption for member in sets[1].members] == ["A", "B"]


def test_columns_become_captions_questions_and_answers(tmp_path: Path) -> None:
    rows = [{"file": "a.jpg", "text": "A bus.", "q": "What?", "a": "It is red.", "n": 1}]
    mapping = parse_mapping("image=file,caption=text,question=q,answer=a")
    [each] = round_trip(tmp_path, "table", rows, mapping=mapping, collection="mine", kind="trivia").with_annotations()
    assert (each.set_id, each.strategy) == ("mine-0", "mine")
    assert each.members[0].caption == "A bus."
    [said] = each.annotations
    assert (said.kind, said.annotator.name, said.content["n"]) == ("trivia", "mine", 1)
    assert [turn.parts for turn in said.turns] == [(0, "What?"), ("It is red.",)]


@pytest.mark.parametrize("form", ["struct", "list", "bytes"])
def test_images_in_the_table_are_packed_and_come_back(tmp_path: Path, form: str) -> None:
    files = [image_file(1), image_file(2), image_file(1)]
    column: list[Any] = [{"bytes": data, "path": "image.png"} for data in files]
    column = {"struct": column, "list": [column[:2], column[1:], column[:1]], "bytes": files}[form]
    table = pa.table({"picture": column, "caption": ["One.", None, "One again."] if form != "list" else [None] * 3})
    pq.write_table(table, tmp_path / "hf.parquet")
    sets = import_file(
        tmp_path, "table", tmp_path / "hf.parquet", mapping=parse_mapping("image=picture,caption=caption")
    )
    assert export_records(sets)["hf.parquet"] == table.to_pylist()
    assert sets[0].members[0].sha256 == sha256(files[0])
    assert sets[0].members[0].ref == sets[2].members[0].ref
    [source] = sets.sources.values()
    assert source.relative == "images"
    assert sets.manifest["import"]["images_found"] == 2


def test_a_file_in_the_table_that_is_no_image_is_counted(tmp_path: Path) -> None:
    table = pa.table({"picture": [image_file(1), b"<svg/>", b""]})
    pq.write_table(table, tmp_path / "hf.parquet")
    said = import_file(tmp_path, "table", tmp_path / "hf.parquet", mapping=(("image", "picture"),)).manifest["import"]
    assert (said["imported"], said["skipped"]) == (1, {"a file inside the record is no image": 2})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file", "write ROLE=COLUMN"),
        ("picture=file", "ROLE is one of id, image, caption"),
        ("image=", "write ROLE=COLUMN"),
        ("image=a,id=b,id=c", "id is given twice"),
        ("caption=text", "name the columns of a set's images"),
        ("", "name the columns of a set's images"),
    ],
)
def test_what_is_no_mapping_is_an_error(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse_mapping(text)


@pytest.mark.parametrize(
    ("mapping", "row", "message"),
    [
        ("image=i,caption=c", {"i": ["a", "b"], "c": "one"}, "another number of captions than images"),
        ("image=i,caption=c", {"i": "a", "c": 3}, "a caption is a text or a list of texts"),
        ("image=i,question=q", {"i": ["a", "b"], "q": "<image>"}, "1 markers, 2 images"),
        ("question=q", {"q": "<image> What?"}, "1 markers, 0 images"),
        ("conversations=c", {"c": [HUMAN, GPT]}, "2 markers, 0 images"),
        ("image=i", {"i": 3}, "an image's name is int"),
        ("image=i", {"i": {"path": "a.jpg", "bytes": None}}, "an image without its bytes"),
        ("image=i,answer=a", {"i": "a", "a": ["x"]}, "a is list, not a text"),
        ("image=i", {"j": "a"}, r"lacks a field \(i\)"),
    ],
)
def test_a_row_that_does_not_fit_is_rejected(mapping: str, row: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordRejected, match=message):
        ColumnMap(parse_mapping(mapping)).parse(row)


def test_columns_are_those_of_the_mapping() -> None:
    assert ColumnMap(parse_mapping("image=a, image=b ,id=c")).columns == ("a", "b", "c")
    assert json.dumps(parse_mapping(" image = a ")) == '[["image", "a"]]'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image=a,image=a", "the column 'a' is given twice"),
        ("image=a,answer=a", "the column 'a' is given twice"),
        ("answer=a,conversations=b", "either conversations or question and answer"),
        ("conversations=b,question=a", "either conversations or question and answer"),
    ],
)
def test_a_column_has_one_role_and_a_row_one_text(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse_mapping(text)
