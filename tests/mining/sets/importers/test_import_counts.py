"""Counts of an import add up, and name a few examples of each reason."""

from __future__ import annotations

from mining.sets.importers.import_counts import ImportCounts, problem_of

IMAGES = {"named": 3, "found": 1, "not_found": {"missing": 2}, "examples": {"missing": ["a.jpg", "b.jpg"]}}


def test_every_record_is_imported_or_skipped_for_one_reason() -> None:
    counts = ImportCounts(records=20, imported=5)
    for place in range(15):
        counts.skip("lacks a field", f"r.json record {place}", "text" if place else "")
    said = counts.to_json(IMAGES)
    assert said["records"] == said["imported"] + sum(said["skipped"].values())
    assert said["images_named"] == said["images_found"] + sum(said["images_not_found"].values())
    assert said["examples"]["lacks a field"][:2] == ["r.json record 0", "r.json record 1: text"]
    assert len(said["examples"]["lacks a field"]) == 10
    assert problem_of(said) == "15 records: lacks a field; 2 images missing"


def test_nothing_left_out_is_no_problem() -> None:
    said = ImportCounts(records=1, imported=1).to_json({"named": 0, "found": 0, "not_found": {}, "examples": {}})
    assert problem_of(said) == ""


def test_a_note_is_kept_once() -> None:
    counts = ImportCounts()
    counts.note("a column was left out")
    counts.note("a column was left out")
    assert counts.notes == ["a column was left out"]
