"""Records come back from imported sets, with the corrections that people made, and of views."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.image_sets import ImageSets
from mining.sets.importers import export_records, write_records
from mining.sets.importers.record_files import SUFFIXES, read_records, records_file
from tests.mining.sets.importers.made_files import GPT, HUMAN, import_file, import_records

RECORDS: list[dict[str, Any]] = [
    {"id": "a", "image": ["1.jpg", "2.jpg"], "conversations": [HUMAN, GPT]},
    {"id": "b", "image": ["3.jpg", "4.jpg"], "conversations": [HUMAN, GPT]},
    {"id": "c", "image": ["1.jpg", "2.jpg"], "conversations": [HUMAN, GPT]},
]


def test_a_correction_takes_the_place_of_what_it_corrects(tmp_path: Path) -> None:
    sets = import_records(tmp_path, "llava", RECORDS)
    first = sets.with_annotations()[0].annotations[1]
    turns = (first.turns[0], Turn("assistant", ("Both are buses.",)))
    mended = Annotation.make(first.set_id, first.kind, Annotator("person:Ann"), turns, {}, first.annotation_id)
    model = Annotation.make(first.set_id, "comparison", Annotator("a-model"), turns)
    sets.add_annotations([mended, model], "more")
    last = replace(
        mended, annotation_id="last", parent=mended.annotation_id, turns=(turns[0], Turn("assistant", ("No.",)))
    )
    ImageSets.open(sets.path).add_annotations([last], "last")
    [back] = export_records(ImageSets.open(sets.path)).values()
    assert [each["id"] for each in back] == ["a", "b", "c"]
    assert back[2]["conversations"][1] == {"from": "gpt", "value": "No."}
    assert back[:2] == RECORDS[:2]


def test_a_view_gives_its_own_records(tmp_path: Path) -> None:
    sets = import_records(tmp_path, "llava", RECORDS)
    assert export_records(sets[:1]) == {"records.jsonl": [RECORDS[0], RECORDS[2]]}


@pytest.mark.parametrize("suffix", [each for each in SUFFIXES if each not in (".tsv", ".csv")])
def test_records_are_written_in_the_form_of_a_suffix(tmp_path: Path, suffix: str) -> None:
    sets = import_records(tmp_path, "llava", RECORDS)
    path = str(tmp_path / f"again{suffix}")
    assert write_records(sets, path) == 3
    assert list(read_records(path)) == RECORDS


def test_the_format_is_asked_for_where_the_folder_does_not_say_it(tmp_path: Path) -> None:
    sets = import_records(tmp_path, "llava", RECORDS)
    manifest = Path(sets.path) / "manifest.json"
    said = json.loads(manifest.read_text())
    del said["import"]
    manifest.write_text(json.dumps(said))
    sets = ImageSets.open(sets.path)
    with pytest.raises(BadInput, match=r'export_records\(sets\.filter\(strategy=\.\.\.\), format="llava"\)'):
        export_records(sets.filter(strategy="llava"))
    assert export_records(sets, "llava")["records.jsonl"] == RECORDS


def test_the_file_is_named_where_there_are_several(tmp_path: Path) -> None:
    sets = import_records(tmp_path, "llava", RECORDS)
    with pytest.raises(BadInput, match=r"was not imported from x\.json; it has records\.jsonl"):
        write_records(sets, str(tmp_path / "y.json"), "x.json")
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_bytes(records_file(RECORDS[:1], ".jsonl"))
    several = import_file(tmp_path / "more", "llava", tmp_path / "one.jsonl", tmp_path / "two.jsonl")
    with pytest.raises(BadInput, match=r"from one\.jsonl, two\.jsonl; name one of them, as in file='one\.jsonl'"):
        write_records(several, str(tmp_path / "y.json"))
    assert write_records(several, str(tmp_path / "y.json"), file="two.jsonl") == 1
