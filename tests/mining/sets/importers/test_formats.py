"""The formats by name."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from index.errors import BadInput
from jobs.commands.import_sets import command
from mining.sets.importers import export_records
from mining.sets.importers.formats import FORMATS, TABLE, get_format
from mining.sets.importers.record import RecordRejected
from tests.mining.sets.importers.made_files import GPT, HUMAN, import_file
from tests.mining.sets.importers.test_difference_notes import BIRD

STEP = {"worker_id": "W1", "story_id": "s", "text": "A day out.", "album_id": "1"}


def test_the_command_offers_every_format() -> None:
    [option] = [each for each in command.params if each.name == "form"]
    assert tuple(option.type.choices) == (*FORMATS, TABLE)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_what_it_is(name: str) -> None:
    form = get_format(name)
    assert form.name == name
    assert form.kinds
    assert all(suffix.startswith(".") for suffix in form.suffixes)
    assert form.homepage is None or form.homepage.startswith("https://")
    assert (form.read is None) == (form.write is None)


@pytest.mark.parametrize(
    ("name", "mapping", "message"),
    [
        ("cadinst", (), "--format 'cadinst': choose from cad-inst, cad-eval"),
        ("table", (), "--format table needs the columns"),
        ("llava", (("image", "file"),), "llava has columns of its own"),
    ],
)
def test_what_is_no_format_is_an_error(name: str, mapping: tuple[tuple[str, str], ...], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        get_format(name, mapping)


def test_a_table_has_the_columns_of_its_mapping() -> None:
    form = get_format(TABLE, (("image", "file"), ("answer", "text")), "note")
    assert (form.columns, form.kinds, form.rows) == (("file", "text"), ("note",), True)


VALID: dict[str, dict[str, Any]] = {
    "cad-inst": {"id": "1", "image": "['a', 'b']", "conversations": [HUMAN, GPT], "clip_sim_score": 0.5},
    "cad-eval": {"image": ["a", "b"], "text": "<image><image>", "answer": "A", "question_id": 1},
    "nlvr2": {
        "sentence": "Both are red.",
        "left_url": "http://x.org/a",
        "label": "True",
        "right_url": "http://x.org/b",
        "identifier": "dev-1-0-0",
        "directory": 3,
    },
    "spot-the-diff": {"img_id": "1", "sentences": ["a", "b"]},
    "birds-to-words": dict(BIRD),
    "subtle-diff": {
        "name": "test/v1_1_cup",
        "contents": [{"name": "a", "url": ""}, {"name": "b", "url": ""}],
        "attributes": [{"type": "textarea", "key": "color", "value": "darker"}],
        "tags": [],
    },
    "mimic-it": {"id": "1", "instruction": "What?", "answer": "x", "image_ids": ["a", "b"], "rel_ins_ids": []},
    "vist": {
        "steps": [
            {"place": place, "step": {**STEP, "worker_arranged_photo_order": place, "photo_flickr_id": str(place)}}
            for place in (0, 1)
        ],
        "photos": {"0": {"id": "0", "url_o": "http://x.org/0.jpg"}},
        "album": None,
    },
    "llava": {"id": "1", "image": ["a", "b"], "conversations": [HUMAN, GPT]},
}


def mutated(value: Any, chance: random.Random) -> Any:
    """The value with something in it replaced by, or wrapped into, JSON data of another kind."""
    strange: list[Any] = [
        None,
        True,
        -1,
        1.5,
        "",
        "[1]",
        "{}",
        "<image>",
        "http://",
        "../a",
        [],
        {},
        [[]],
        {"name": None},
        "\ud800",
    ]
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        kept = {key: each for key, each in value.items() if key != name or chance.random() < 0.8}
        return {**kept, **({name: mutated(value[name], chance)} if name in kept else {})}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], mutated(value[place], chance), *value[place + chance.randrange(2) :]]
    return chance.choice([*strange, [value], {"value": value}])


def mutated_story(chance: random.Random) -> dict[str, Any]:
    """A story with something replaced in its first step or photograph, which are objects whatever the file holds."""
    first, second = VALID["vist"]["steps"]
    photo = mutated(VALID["vist"]["photos"]["0"], chance)
    steps = [{"place": 0, "step": mutated(first["step"], chance)}, second]
    return {"steps": steps, "photos": {"0": photo} if isinstance(photo, dict) else {}, "album": None}


@pytest.mark.parametrize("name", FORMATS)
def test_whatever_a_record_holds_it_is_imported_and_comes_back_or_is_rejected(name: str, tmp_path: Path) -> None:
    chance = random.Random(name)
    form = get_format(name)
    kept: list[dict[str, Any]] = []
    for _ in range(400):
        record = mutated_story(chance) if name == "vist" else mutated(VALID[name], chance)
        if not isinstance(record, dict):
            continue
        try:
            form.parse(record)
        except RecordRejected:
            continue
        kept.append(record)
    assert kept
    if form.read is not None:  # the reader makes these records of another file
        return
    (tmp_path / "r.json").write_text(json.dumps([VALID[name], *kept]))
    sets = import_file(tmp_path, name, tmp_path / "r.json")
    said = sets.manifest["import"]
    names = {"an image's name leaves the folder", "an image without a name"}
    assert set(said["skipped"]) <= {*names, "a text that is no Unicode"}
    [back] = export_records(sets).values()
    known = {json.dumps(record) for record in [VALID[name], *kept]}
    assert {json.dumps(record) for record in back} <= known
    assert len(back) == said["imported"]


def test_what_a_file_has_beside_its_records_must_be_writable(tmp_path: Path) -> None:
    path = tmp_path / "SD.json"
    for meta, message in (('"\\ud800"', "is no Unicode"), ("[" * 200 + "]" * 200, "nested too deeply")):
        path.write_text(f'{{"meta": {meta}, "data": {{}}}}')
        with pytest.raises(BadInput, match=message):
            get_format("mimic-it").open(str(path))
    path.write_text('{"meta": {"version": 1}, "data": {"a": {"answer": "b"}}}')
    header, records = get_format("mimic-it").open(str(path))
    assert (header, list(records)) == ({"meta": {"version": 1}}, [{"id": "a", "answer": "b"}])
