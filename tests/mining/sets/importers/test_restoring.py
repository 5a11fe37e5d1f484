"""Records come back from imported sets, with the corrections that people made, and of views."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from mining.sets.annotation import Annotation, Annotator, Turn
from mining.sets.annotations import append_annotations
from mining.sets.corrections import CorrectionsFile
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


STEPS = [
    [
        {
            "photo_flickr_id": str(n),
            "worker_id": "W",
            "story_id": "S",
            "worker_arranged_photo_order": n,
            "text": f"step {n}",
        }
    ]
    for n in range(2)
]
PAIR_OF_SUBTLE_DIFF = {
    "name": "test/v1_1_oboe",
    "contents": [{"name": "v1_1_after", "url": ""}, {"name": "v1_1_before", "url": ""}],
    "attributes": [{"type": "textarea", "key": "color", "value": "It is red."}],
}
FILES: dict[str, Any] = {
    "cad-eval": [{"image": ["a", "b"], "text": "<image><image>Which?", "answer": "A", "question_id": 1}],
    "nlvr2": [{"sentence": "Two dogs.", "left_url": "u", "label": "True", "right_url": "v", "identifier": "dev-1-0-0"}],
    "mimic-it": {"data": {"I1": {"instruction": "What?", "answer": "A car.", "image_ids": ["a", "b"]}}},
    "spot-the-diff": [{"img_id": "1", "sentences": ["one", "two"]}],
    "vist": {"images": [], "albums": [], "annotations": STEPS},
    "subtle-diff": [PAIR_OF_SUBTLE_DIFF],
    "llava": RECORDS[:1],
}


def corrected(folder: Path, form: str, turns: list[Turn] | None, content: dict[str, Any] | None) -> ImageSets:
    """An imported record with a correction of its first annotation; None keeps its turns, or its content."""
    (folder / "in.json").write_text(json.dumps(FILES[form]))
    sets = import_file(folder, form, folder / "in.json")
    first = sets.with_annotations()[0].annotations[0]
    turns, content = list(first.turns) if turns is None else turns, dict(first.content) if content is None else content
    mended = Annotation.make(
        first.set_id, first.kind, Annotator("person:Ann"), turns, content, parent=first.annotation_id
    )
    CorrectionsFile(sets.path).add(mended)
    return ImageSets.open(sets.path)


@pytest.mark.parametrize("form", list(FILES))
@pytest.mark.parametrize("turns", [[], [Turn("user", ("q",))], [Turn("user", ("q",)), Turn("assistant", ("a",))] * 3])
def test_a_correction_that_the_format_cannot_hold_is_one_line_that_names_the_set(
    tmp_path: Path, form: str, turns: list[Turn]
) -> None:
    sets = corrected(tmp_path, form, turns, None)
    with pytest.raises(BadInput) as error:
        export_records(sets)
    assert str(error.value).startswith(f"{sets.path}: set {sets[0].set_id!r}: record 0 of in.json cannot be written")
    assert f"the correction by person:Ann says what {form} cannot hold" in str(error.value)
    with pytest.raises(BadInput):
        write_records(sets, str(tmp_path / "again.json"))
    assert not (tmp_path / "again.json").exists()


@pytest.mark.parametrize("form", list(FILES))
@pytest.mark.parametrize("content", [{}, {"record": {}}, {"record": {"file": "x", "place": "y"}}, {"record": None}])
def test_a_correction_of_the_turns_keeps_the_place_and_the_content_of_the_record(
    tmp_path: Path, form: str, content: dict[str, Any]
) -> None:
    before = corrected(tmp_path, form, None, None)
    first = before.with_annotations(replaced=True)[0].annotations[0]
    turns = [*first.turns[:-1], Turn("assistant", ("True.",))]
    newer = Annotation.make(first.set_id, first.kind, Annotator("person:Ann"), turns, content, first.annotation_id)
    Path(before.path, "annotations", "corrections.jsonl").unlink()
    expected = json.dumps(export_records(ImageSets.open(before.path)), sort_keys=True)
    CorrectionsFile(before.path).add(newer)
    found = json.dumps(export_records(ImageSets.open(before.path)), sort_keys=True)
    assert found.count("True.") == 1
    assert sorted(json.loads(found)) == sorted(json.loads(expected)) == ["in.json"]
    for name in ("question_id", "identifier", "image_ids", "img_id", "story_id", "contents", "W"):
        assert found.count(f'"{name}"') == expected.count(f'"{name}"')


def test_a_correction_with_more_lines_is_as_many_sentences(tmp_path: Path) -> None:
    for number, sentences in enumerate([["a\nb", "c"], []]):
        (tmp_path / str(number)).mkdir()
        sets = import_records(tmp_path / str(number), "spot-the-diff", [{"img_id": "1", "sentences": sentences}])
        first = sets.with_annotations()[0].annotations[0]
        turns = [first.turns[0], Turn("assistant", ("one\ntwo",))]
        mended = Annotation.make(first.set_id, first.kind, Annotator("person:Ann"), turns, {}, first.annotation_id)
        CorrectionsFile(sets.path).add(mended)
        assert export_records(ImageSets.open(sets.path)) == {
            "records.jsonl": [{"img_id": "1", "sentences": ["one", "two"]}]
        }


def test_what_was_made_of_an_annotation_in_another_kind_does_not_replace_it(tmp_path: Path) -> None:
    sets = import_records(tmp_path, "llava", RECORDS[:1])
    first = sets.with_annotations()[0].annotations[0]
    story = Annotation.make(
        first.set_id, "story", Annotator("model"), [Turn("assistant", ("x",))], {"record": {}}, first.annotation_id
    )
    own = Annotation.make(first.set_id, "note", Annotator("model"), [Turn("assistant", ("x",))], {"record": {}})
    sets.add_annotations([story, own], "model")
    assert export_records(ImageSets.open(sets.path)) == {"records.jsonl": RECORDS[:1]}


def test_sets_without_their_imported_annotations_are_named(tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps(FILES["subtle-diff"]))
    sets = import_file(tmp_path, "subtle-diff", tmp_path / "in.json")
    notes = [each for each in sets.with_annotations()[0].annotations if each.kind != "task"]
    for file in Path(sets.path, "annotations").iterdir():
        file.unlink()
    append_annotations(sets.path, notes, "notes")
    with pytest.raises(
        BadInput, match=r"record 0 of in\.json cannot be written again: its annotations are not complete"
    ):
        export_records(ImageSets.open(sets.path))
