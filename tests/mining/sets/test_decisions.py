from __future__ import annotations

import json
from pathlib import Path

import pytest

from index.errors import BadInput
from mining import ImageSets
from mining.sets.decisions import DecisionsFile, read_decisions
from mining.sets.image_set import ImageSet
from tests.mining.made_sets import write_foreign_sets, write_sets
from tests.retrieval.stores import MODEL, make_store, random_unit


def line(rows: list[int], decision: str = "reject") -> str:
    """A line as version 1 wrote it."""
    return json.dumps({"rows": rows, "strategy": "similar", "decision": decision, "time": "2026-11-21T12:00:00+00:00"})


@pytest.fixture
def sets(tmp_path: Path) -> ImageSets:
    return write_sets(tmp_path, [[7, 3], [1, 2, 3], [9, 4]])


def test_what_is_added_is_read_again_and_the_last_line_holds(tmp_path: Path, sets: ImageSets) -> None:
    file = DecisionsFile(tmp_path / "new/decisions.jsonl")
    for number, decision in ((0, "reject"), (1, "reject"), (0, "keep"), (2, "reject")):
        file.add(sets[number], decision, sets.sources)  # type: ignore[arg-type]
    decisions = read_decisions(file.path)
    assert decisions.rejected == {sets[1].refs, sets[2].refs}
    assert [decisions.of(each) for each in sets] == ["keep", "reject", "reject"] == [file.of(each) for each in sets]
    first = json.loads(file.path.read_text().splitlines()[0])
    name = next(iter(sets.sources))
    assert first["members"] == [f"{name}/3", f"{name}/7"]
    assert (first["set_id"], first["stores"], first["decision"]) == (sets[0].set_id, {name: 2}, "reject")
    assert first["time"].endswith("+00:00")


def test_a_file_that_is_there_goes_on(tmp_path: Path, sets: ImageSets) -> None:
    path = tmp_path / "decisions.jsonl"
    DecisionsFile(path).add(sets[0], "reject", sets.sources)
    again = DecisionsFile(path)
    assert again.of(sets[0]) == "reject"
    again.add(sets[1], "reject", sets.sources)
    assert read_decisions(path).rejected == {sets[0].refs, sets[1].refs}


def test_lines_of_version_1_hold_for_these_rows_of_any_store(tmp_path: Path, sets: ImageSets) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(f"{line([3, 7])}\n{line([1, 2, 3])}\n{line([3, 2, 1], 'keep')}\n")
    decisions = read_decisions(path)
    assert [decisions.of(each) for each in sets] == ["reject", "keep", None]
    assert decisions.rejected_rows(sets.store()) == (frozenset({(3, 7)}), 0)
    other = make_store(tmp_path / "other", random_unit(8), parts=1)
    assert decisions.rejected_rows(other) == (frozenset({(3, 7)}), 0)


def test_a_decision_of_today_holds_against_one_of_version_1(tmp_path: Path, sets: ImageSets) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(f"{line([3, 7])}\n{line([4, 9])}\n")
    DecisionsFile(path).add(sets[0], "keep", sets.sources)
    decisions = read_decisions(path)
    assert [decisions.of(each) for each in sets] == ["keep", None, "reject"]
    assert [each.set_id for each in sets.filter(decisions=decisions)] == [sets[0].set_id, sets[1].set_id]
    assert decisions.rejected_rows(sets.store()) == (frozenset({(4, 9)}), 0)


def test_a_decision_is_never_applied_to_another_store(tmp_path: Path, sets: ImageSets) -> None:
    """The stores have the same row ids; their models differ, and so do their identities."""
    path = tmp_path / "decisions.jsonl"
    DecisionsFile(path).add(sets[0], "reject", sets.sources)
    foreign = write_foreign_sets(tmp_path, [["a.jpg", "b.jpg"]])
    DecisionsFile(path).add(foreign[0], "reject", foreign.sources)
    decisions = read_decisions(path)
    assert decisions.rejected_rows(sets.store()) == (frozenset({(3, 7)}), 1)
    other = make_store(tmp_path / "other", random_unit(12), model={**MODEL, "weights": "x"})
    assert decisions.rejected_rows(other) == (frozenset(), 2)
    assert [each.set_id for each in foreign.filter(decisions=decisions)] == []
    assert len(write_sets(tmp_path / "third", [[3, 7]], store=other).filter(decisions=decisions)) == 1


def test_a_store_that_grew_keeps_its_decisions(tmp_path: Path, sets: ImageSets) -> None:
    path = tmp_path / "decisions.jsonl"
    DecisionsFile(path).add(sets[0], "reject", sets.sources)
    one_part = make_store(tmp_path / "grown", random_unit(6), parts=1)
    told = write_sets(tmp_path / "grown", [[3, 5]], store=one_part)
    DecisionsFile(path).add(told[0], "reject", told.sources)
    grown = make_store(tmp_path / "grown2", random_unit(12), parts=2)  # its first part has 6 rows too
    assert read_decisions(path).rejected_rows(grown) == (frozenset({(3, 5), (3, 7)}), 0)


def test_a_set_without_images_is_known_by_its_id(tmp_path: Path) -> None:
    sets = write_foreign_sets(tmp_path, [[], ["a.jpg", "b.jpg"], []])
    file = DecisionsFile(tmp_path / "decisions.jsonl")
    file.add(sets[0], "reject", sets.sources)
    decisions = read_decisions(file.path)
    assert [decisions.of(each) for each in sets] == ["reject", None, None]
    assert [each.set_id for each in sets.filter(decisions=decisions)] == ["foreign-1", "foreign-2"]


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ("{", "Expecting"),
        ("[1, 2]", "not a JSON object"),
        ('{"decision": "reject"}', "'rows' is missing"),
        ('{"rows": [1], "decision": "reject"}', "not a list of two or more"),
        ('{"rows": [1, true], "decision": "reject"}', "not a list of two or more"),
        ('{"rows": [1, -2], "decision": "reject"}', "not a list of two or more"),
        ('{"rows": [1, 2], "decision": "drop"}', "neither reject nor keep"),
        ('{"members": [], "decision": "reject"}', "not a list of images"),
        ('{"members": ["store-1"], "decision": "reject"}', "not a list of images"),
        ('{"members": ["s/1"], "stores": {"s": true}, "decision": "reject"}', "a number of parts"),
        ("\udcff\udcfe", "codec can't decode"),
    ],
)
def test_a_broken_line_is_named_with_its_number_and_the_remedy(tmp_path: Path, broken: str, what: str) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(f"{line([1, 2])}\n\n{broken}\n{line([3, 4])}\n", errors="surrogateescape")
    with pytest.raises(BadInput, match=r"decisions.jsonl, line 3: is not a decision") as caught:
        read_decisions(path)
    assert what in str(caught.value)
    assert "delete the line, or correct it" in str(caught.value)


def test_a_last_line_that_was_cut_short_is_skipped_and_noted(tmp_path: Path, sets: ImageSets) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(f"{line([1, 2])}\n{line([3, 4])[:30]}")
    decisions = read_decisions(path)
    assert decisions.rejected == {("*/1", "*/2")}
    assert decisions.notes == (f"{path}: its last line was cut short and is skipped",)
    DecisionsFile(path).add(sets[2], "reject", sets.sources)
    assert read_decisions(path).rejected == {("*/1", "*/2"), sets[2].refs}
    assert read_decisions(path).notes == ()


def test_a_whole_last_line_without_its_end_counts(tmp_path: Path, sets: ImageSets) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(line([1, 2]))
    assert read_decisions(path).rejected == {("*/1", "*/2")}
    DecisionsFile(path).add(sets[2], "reject", sets.sources)
    assert read_decisions(path).rejected == {("*/1", "*/2"), sets[2].refs}


def test_an_empty_file_decides_nothing_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert read_decisions(tmp_path / "empty").rejected == frozenset()
    with pytest.raises(BadInput, match="there is no such decisions file"):
        read_decisions(tmp_path / "missing")


def test_another_decision_is_refused(tmp_path: Path) -> None:
    file = DecisionsFile(tmp_path / "decisions.jsonl")
    with pytest.raises(BadInput, match="choose reject or keep"):
        file.add(ImageSet("a", "b", ()), "perhaps", {})  # type: ignore[arg-type]
    assert not file.path.exists()
