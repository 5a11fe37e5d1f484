from __future__ import annotations

import json
from pathlib import Path

import pytest

from index.errors import BadInput
from mining.sets.decisions import DecisionsFile, read_decisions


def line(rows: list[int], decision: str = "reject") -> str:
    return json.dumps({"rows": rows, "strategy": "similar", "decision": decision, "time": "2026-11-21T12:00:00+00:00"})


def test_what_is_added_is_read_again_and_the_last_line_holds(tmp_path: Path) -> None:
    file = DecisionsFile(tmp_path / "new/decisions.jsonl")
    file.add([7, 3], "similar", "reject")
    file.add([1, 2, 3], "identity", "reject")
    file.add([3, 7], "similar", "keep")
    file.add([9, 4], "random", "reject")
    decisions = read_decisions(file.path)
    assert decisions.rejected == {(1, 2, 3), (4, 9)}
    assert (decisions.of([7, 3]), decisions.of([3, 2, 1]), decisions.of([5, 6])) == ("keep", "reject", None)
    first = json.loads(file.path.read_text().splitlines()[0])
    assert (first["rows"], first["strategy"], first["decision"]) == ([7, 3], "similar", "reject")
    assert first["time"].endswith("+00:00")


def test_a_file_that_is_there_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    DecisionsFile(path).add([1, 2], "similar", "reject")
    again = DecisionsFile(path)
    assert again.of([2, 1]) == "reject"
    again.add([3, 4], "similar", "reject")
    assert read_decisions(path).rejected == {(1, 2), (3, 4)}


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


def test_a_last_line_that_was_cut_short_is_skipped_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(f"{line([1, 2])}\n{line([3, 4])[:30]}")
    decisions = read_decisions(path)
    assert decisions.rejected == {(1, 2)}
    assert decisions.notes == (f"{path}: its last line was cut short and is skipped",)
    DecisionsFile(path).add([5, 6], "similar", "reject")
    assert read_decisions(path).rejected == {(1, 2), (5, 6)}
    assert read_decisions(path).notes == ()


def test_a_whole_last_line_without_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    path.write_text(line([1, 2]))
    assert read_decisions(path).rejected == {(1, 2)}
    DecisionsFile(path).add([3, 4], "similar", "reject")
    assert read_decisions(path).rejected == {(1, 2), (3, 4)}


def test_an_empty_file_decides_nothing_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    assert read_decisions(tmp_path / "empty").rejected == frozenset()
    with pytest.raises(BadInput, match="there is no such decisions file"):
        read_decisions(tmp_path / "missing")


def test_another_decision_is_refused(tmp_path: Path) -> None:
    file = DecisionsFile(tmp_path / "decisions.jsonl")
    with pytest.raises(BadInput, match="choose reject or keep"):
        file.add([1, 2], "similar", "perhaps")  # type: ignore[arg-type]
    assert not file.path.exists()
