from __future__ import annotations

import json
from pathlib import Path

from jobs.demo.loop.material import SINGLE_KINDS, draw_material
from tests.jobs.demo.loop.conftest import SETTINGS


def test_material_is_drawn_once(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")}
    material = draw_material(root, SETTINGS, workers=1)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")} == before
    assert len(json.loads(material.notes.read_text())) == SETTINGS.edits
    assert len(json.loads(material.instructions.read_text())) == SETTINGS.instructions
    assert len(list(material.corpus.glob("*.tar"))) == 1


def test_single_image_questions_are_of_all_kinds_and_about_one_image(root: Path) -> None:
    records = [json.loads(line) for line in (root / "held_out" / "single.jsonl").read_text().splitlines()]
    assert len(records) == SETTINGS.held_out
    assert all(record["category"] in SINGLE_KINDS for record in records)
    assert all(len(record["image"]) == 1 == record["text"].count("<image>") for record in records)
    assert all((root / "held_out" / record["image"][0]).exists() for record in records)
