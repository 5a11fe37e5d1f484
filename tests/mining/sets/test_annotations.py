from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import BadInput, OutputExists
from mining.sets import annotations as module
from mining.sets.annotation import Annotation
from mining.sets.annotations import (
    ANNOTATIONS_SCHEMA,
    Annotations,
    annotations_table,
    append_annotations,
    distinct_ids,
)
from mining.sets.corrections import CorrectionsFile
from tests.folders import file_bytes
from tests.mining.made_sets import annotation

SETS = pa.array(["a", "b", "c"])


def said_of(
    path: Path, kinds: tuple[str, ...] = (), annotators: tuple[str, ...] = (), replaced: bool = False
) -> list[tuple[str, str]]:
    """(set id, answer) of the annotations that `index` finds."""
    opened = Annotations.open(path)
    owners, numbers = opened.index(SETS, kinds, annotators, replaced)
    found = opened.read(numbers)
    assert [each.set_id for each in found] == [SETS[owner].as_py() for owner in owners.tolist()]
    return [(each.set_id, each.turns[-1].text) for each in found]


def test_annotations_come_back_as_they_were_written(tmp_path: Path) -> None:
    one = annotation("a", "a <image> of a dog", images=(1, 0), options=["A", {"b": None}], parent="older")
    plain = Annotation.make("b", "attribute", annotation("b", "").annotator, content={"axis": "color"})
    assert append_annotations(tmp_path, [one, plain], "part") == 2
    opened = Annotations.open(tmp_path)
    assert opened.read([1, 0]) == [plain, one]
    assert opened.read([]) == []
    assert len(opened) == 2
    assert opened.columns(["kind", "set_id"]).to_pylist() == [
        {"kind": "comparison", "set_id": "a"},
        {"kind": "attribute", "set_id": "b"},
    ]


def test_each_set_has_its_annotations_by_part_and_in_the_order_of_writing(tmp_path: Path) -> None:
    append_annotations(tmp_path, [annotation("c", "3"), annotation("a", "1"), annotation("c", "4")], "2_late")
    append_annotations(tmp_path, [annotation("c", "2"), annotation("a", "0", "question", "Ann")], "1_early")
    assert said_of(tmp_path) == [("a", "0"), ("a", "1"), ("c", "2"), ("c", "3"), ("c", "4")]
    assert said_of(tmp_path, ("question",)) == [("a", "0")]
    assert said_of(tmp_path, (), ("model",)) == [("a", "1"), ("c", "2"), ("c", "3"), ("c", "4")]
    assert said_of(tmp_path, ("question",), ("model",)) == []
    assert Annotations.open(tmp_path).counts() == {("comparison", "model"): 4, ("question", "Ann"): 1}


def test_a_replaced_annotation_is_given_only_on_request(tmp_path: Path) -> None:
    first = annotation("a", "first")
    second = annotation("a", "second", annotator="Ann", parent=first.annotation_id)
    third = annotation("a", "third", annotator="Bob", parent=second.annotation_id)
    append_annotations(tmp_path, [first, annotation("b", "b")], "1")
    append_annotations(tmp_path, [second], "2")
    CorrectionsFile(tmp_path).add(third)
    assert said_of(tmp_path) == [("a", "third"), ("b", "b")]
    assert said_of(tmp_path, replaced=True) == [("a", "first"), ("a", "second"), ("a", "third"), ("b", "b")]
    assert said_of(tmp_path, (), ("model",)) == [("a", "third"), ("b", "b")]


def test_a_correction_counts_for_its_own_annotator_and_those_of_what_it_replaces(tmp_path: Path) -> None:
    first = annotation("a", "first")
    second = annotation("a", "second", annotator="Ann", parent=first.annotation_id)
    third = annotation("a", "third", annotator="Bob", parent=second.annotation_id)
    made = annotation("a", "made of it", "question", annotator="Bob", parent=first.annotation_id)
    append_annotations(tmp_path, [third, annotation("b", "b")], "1")  # also before what it replaces
    append_annotations(tmp_path, [second, made], "2")
    append_annotations(tmp_path, [first], "3")
    for name in ("model", "Ann", "Bob"):
        assert ("a", "third") in said_of(tmp_path, ("comparison",), (name,))
    assert said_of(tmp_path, ("question",), ("model",)) == []
    assert said_of(tmp_path, (), ("Ann",), replaced=True) == [("a", "third"), ("a", "second")]
    assert Annotations.open(tmp_path).earlier_annotators() == {0: ["Ann", "model"], 2: ["model"]}


def test_two_that_replace_each_other_are_no_endless_loop(tmp_path: Path) -> None:
    one, two = annotation("a", "1", annotator="Ann"), annotation("a", "2", annotator="Bob")
    both = [replace(one, parent=two.annotation_id), replace(two, parent=one.annotation_id)]
    append_annotations(tmp_path, [*both, annotation("a", "3", parent="not here")], "1")
    assert said_of(tmp_path) == [("a", "3")]
    assert said_of(tmp_path, (), ("Ann",), replaced=True) == [("a", "1"), ("a", "2")]
    assert Annotations.open(tmp_path).earlier_annotators() == {0: ["Bob"], 1: ["Ann"]}


def test_an_annotation_of_another_kind_stands_beside_the_one_it_was_made_from(tmp_path: Path) -> None:
    """CaD's second phase is made from the first and does not replace it."""
    first = annotation("a", "phase 1")
    append_annotations(tmp_path, [first, annotation("a", "phase 2", "question", parent=first.annotation_id)], "1")
    assert said_of(tmp_path) == [("a", "phase 1"), ("a", "phase 2")]


def test_the_same_annotation_in_two_parts_is_given_once(tmp_path: Path) -> None:
    append_annotations(tmp_path, [annotation("a", "1"), annotation("b", "2")], "1")
    append_annotations(tmp_path, [annotation("b", "2"), annotation("c", "3")], "2")
    assert said_of(tmp_path) == [("a", "1"), ("b", "2"), ("c", "3")]
    assert len(Annotations.open(tmp_path)) == 4


def test_equal_annotations_of_one_call_stay_both(tmp_path: Path) -> None:
    said = annotation("a", "nothing")
    append_annotations(tmp_path, [said, said, said], "1")
    assert said_of(tmp_path) == [("a", "nothing")] * 3
    ids = [each.annotation_id for each in distinct_ids([said, annotation("b", "x"), said])]
    assert ids == [said.annotation_id, annotation("b", "x").annotation_id, f"{said.annotation_id}-2"]


def test_the_same_part_is_written_once_and_another_of_its_name_refused(tmp_path: Path) -> None:
    append_annotations(tmp_path, [annotation("a", "1")], "part")
    before = file_bytes(tmp_path)
    assert append_annotations(tmp_path, [annotation("a", "1")], "part") == 1
    assert file_bytes(tmp_path) == before
    with pytest.raises(OutputExists, match=r"part.json: a part of this name has other annotations; choose another"):
        append_annotations(tmp_path, [annotation("a", "2")], "part")


def test_a_part_that_was_killed_before_its_marker_does_not_count_and_is_written_again(tmp_path: Path) -> None:
    append_annotations(tmp_path, [annotation("a", "1")], "part")
    (tmp_path / "annotations/part.json").unlink()
    assert said_of(tmp_path) == []
    append_annotations(tmp_path, [annotation("a", "2"), annotation("b", "3")], "part")
    assert said_of(tmp_path) == [("a", "2"), ("b", "3")]


def test_two_jobs_append_at_the_same_time(tmp_path: Path) -> None:
    def append(number: int) -> int:
        return append_annotations(tmp_path, [annotation("abc"[number % 3], str(number))], f"job_{number:02d}")

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(append, range(24))) == 24
    assert sorted(int(text) for _, text in said_of(tmp_path)) == list(range(24))


def test_the_same_part_of_two_writers_at_once_is_whole(tmp_path: Path) -> None:
    said = [annotation("abc"[number % 3], str(number)) for number in range(600)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: append_annotations(tmp_path, said, "part"), range(4))) == [600] * 4
    assert len(said_of(tmp_path)) == 600


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "x" * 101])
def test_a_name_that_cannot_be_a_files_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="a part's name has letters, digits"):
        append_annotations(tmp_path, [annotation("a", "1")], name)


def test_an_annotation_of_a_set_that_is_not_there_names_its_file(tmp_path: Path) -> None:
    append_annotations(tmp_path, [annotation("a", "1")], "1")
    append_annotations(tmp_path, [annotation("b", "2"), annotation("lost", "3")], "2")
    with pytest.raises(BadInput, match=r"annotations/2.parquet: annotates the set 'lost', which is not among these"):
        Annotations.open(tmp_path).index(SETS)
    (tmp_path / "annotations/2.json").unlink()
    CorrectionsFile(tmp_path).add(annotation("lost", "4"))
    with pytest.raises(BadInput, match=r"annotations/corrections.jsonl: annotates the set 'lost'"):
        Annotations.open(tmp_path).index(SETS)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"rows": 1, "group_rows": 250, "counts": 3}',
        '{"rows": "many", "group_rows": 250, "counts": []}',
        '{"rows": 1, "group_rows": 250, "counts": [{"kind": "a", "count": 1}]}',
        '{"rows": 1, "group_rows": 250, "counts": [{"kind": "a", "annotator": null, "count": 1}]}',
    ],
)
def test_a_marker_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    append_annotations(tmp_path, [annotation("a", "1")], "part")
    (tmp_path / "annotations/part.json").write_text(text)
    with pytest.raises(BadInput, match=r"part.json: is not the marker of a part of annotations .* annotate again"):
        Annotations.open(tmp_path)
    with pytest.raises(BadInput, match=r"part.json: is not the marker"):
        append_annotations(tmp_path, [annotation("a", "1")], "part")


def test_a_part_that_is_missing_damaged_or_of_another_count_is_named(tmp_path: Path) -> None:
    append_annotations(tmp_path, [annotation("a", str(number)) for number in range(300)], "part")
    file = tmp_path / "annotations/part.parquet"
    whole = file.read_bytes()
    pq.write_table(annotations_table([annotation("a", "1")]), file)
    with pytest.raises(BadInput, match=r"part.parquet: missing or damaged \(has 1 rows, its marker says 300\)"):
        said_of(tmp_path)
    for broken in (whole[:-5], b""):
        file.write_bytes(broken)
        with pytest.raises(BadInput, match=r"part.parquet: missing or damaged .* delete that part"):
            said_of(tmp_path)
    file.unlink()
    with pytest.raises(BadInput, match=r"part.parquet: missing or damaged \(no such file\)"):
        said_of(tmp_path)


def test_annotations_are_read_from_many_groups_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GROUP", 7)
    for part in range(3):
        append_annotations(tmp_path, [annotation("a", str(part * 20 + number)) for number in range(20)], f"{part}")
    CorrectionsFile(tmp_path).add(annotation("b", "60"))
    monkeypatch.setattr(module, "_GROUP", 250)  # another release may group otherwise: the marker says how
    monkeypatch.setattr(module, "_KEPT_GROUPS", 2)
    opened = Annotations.open(tmp_path)
    wanted = np.random.default_rng(0).permutation(61)
    assert [each.turns[-1].text for each in opened.read(wanted)] == [str(number) for number in wanted]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda number: opened.read([number])[0].turns[-1].text, range(61)))
    assert found == [str(number) for number in range(61)]
    assert [table.num_rows for table in opened.tables(0)] == [7, 7, 6]


def test_what_was_listed_travels_to_other_processes(tmp_path: Path) -> None:
    append_annotations(tmp_path, [annotation("a", "1")], "1")
    opened = Annotations.open(tmp_path)
    opened.read([0])
    append_annotations(tmp_path, [annotation("a", "2")], "2")
    assert len(pickle.loads(pickle.dumps(opened))) == 1
    assert len(Annotations.open(tmp_path)) == 2


def test_a_folder_without_annotations_has_none(tmp_path: Path) -> None:
    assert said_of(tmp_path) == []
    assert Annotations.open(tmp_path).counts() == {}
    assert append_annotations(tmp_path, [], "empty") == 0
    assert said_of(tmp_path) == []
    assert Annotations.open(tmp_path).columns(ANNOTATIONS_SCHEMA.names).schema == ANNOTATIONS_SCHEMA


def test_an_unknown_kind_or_annotator_is_named_with_those_there_are(tmp_path: Path) -> None:
    append_annotations(tmp_path, [annotation("a", "1"), annotation("a", "2", "story", "Ann")], "1")
    opened = Annotations.open(tmp_path)
    opened.check(("story",), ("Ann", "model"))
    with pytest.raises(BadInput, match="has no annotations of kind 'stori'; it has comparison, story"):
        opened.check(("stori",), ())
    with pytest.raises(BadInput, match="has no annotations of annotator 'Anne'; it has Ann, model"):
        opened.check((), ("Anne",))


def test_parts_in_an_object_store_are_listed_and_read() -> None:
    append_annotations("memory://annotated", [annotation("a", "1")], "1")
    assert json.loads(json.dumps(Annotations.open("memory://annotated").read([0])[0].to_json()))["kind"] == "comparison"


@pytest.mark.parametrize(("rows", "group_rows"), [(99, 100), (3, 100), (4, 3), (4, 0), (-1, 100), (4, -100)])
def test_a_marker_with_other_numbers_than_its_part_is_an_error(tmp_path: Path, rows: int, group_rows: int) -> None:
    append_annotations(tmp_path, [annotation("a", f"answer {number}") for number in range(4)], "part")
    marker = tmp_path / "annotations/part.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "rows": rows, "group_rows": group_rows}))
    with pytest.raises(BadInput, match=r"annotations/part\."):
        list(Annotations.open(tmp_path).tables(0))
    with pytest.raises(BadInput, match=r"annotations/part\."):
        said_of(tmp_path)


def test_a_marker_that_is_nested_deeply_is_named(tmp_path: Path) -> None:
    append_annotations(tmp_path, [annotation("a", "answer")], "part")
    (tmp_path / "annotations/part.json").write_text("[" * 100_000)
    with pytest.raises(BadInput, match=r"part.json: is not the marker"):
        Annotations.open(tmp_path)
