"""Counts of an import add up, and name a few examples of each reason."""

from __future__ import annotations

from mining.sets.importers.import_counts import ImportCounts, problem_of, shown, shown_list

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


def test_names_of_strangers_make_no_lines_of_their_own() -> None:
    counts = ImportCounts()
    counts.skip("lacks a field", "a\nnote  forged record 1", "\x1b[31mred" + "x" * 5000)
    [example] = counts.to_json({"named": 0, "found": 0, "not_found": {}, "examples": {}})["examples"]["lacks a field"]
    assert example.startswith("a\\nnote  forged record 1: \\x1b[31mred")
    assert len(example) < 300
    assert shown("caf\u00e9 \u202e\ud800") == "caf\u00e9 \\u202e\\ud800"
    assert shown("x" * 101) == "x" * 100 + "..."
    assert shown_list(map(str, range(23))).endswith("18, 19 and 3 more")


def test_of_many_notes_the_first_are_kept_and_the_others_counted() -> None:
    counts = ImportCounts()
    for number in range(25):
        counts.note(f"note {number}\n" + "x" * 1000)
        counts.note("note 0\n" + "x" * 1000)
    notes = counts.to_json({"named": 0, "found": 0, "not_found": {}, "examples": {}})["notes"]
    assert len(notes) == 21
    assert notes[-1] == "and 5 more notes"
    assert max(map(len, notes)) < 500
