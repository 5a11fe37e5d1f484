"""Tasks by name: their files below --data, files named by the user, and the real records of the benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.lmm.evaluate.tasks import TASKS, find_task, is_lmm_task, load_questions
from index.errors import BadInput
from tests.customize.lmm.evaluate.conftest import choice_record, write_lines

PAIR = ("a.jpg", "b.jpg")


def test_a_task_is_told_from_one_of_clip_models() -> None:
    assert all(map(is_lmm_task, (*TASKS, "bison=mine.jsonl", "questions.jsonl", "x/q.json", "t.parquet")))
    assert not any(map(is_lmm_task, ("dtd", "mine.yaml", "coco-retrieval", "dtd=x.jsonx")))


def test_a_tasks_file_is_found_below_data(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "bison.jsonl", [choice_record(0, "a dog", "A", PAIR)])
    found = find_task("bison", str(tmp_path))
    assert (found.path, found.images) == (str(path), str(tmp_path))
    (tmp_path / "bison").mkdir()
    inner = write_lines(tmp_path / "bison" / "BISON.head.jsonl", [choice_record(0, "a dog", "A", PAIR)])
    found = find_task("bison", str(tmp_path))
    assert (found.path, found.images) == (str(inner), str(tmp_path / "bison"))


def test_a_file_of_the_users_is_a_task_or_stands_for_one(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mine.jsonl", [choice_record(0, "a dog", "A", PAIR)])
    assert find_task(str(path), None).task.name == "mine"
    assert find_task(str(path), None).images == str(tmp_path)
    assert find_task(f"svo={path}", "DATA").task is TASKS["svo"]
    assert find_task(f"svo={path}", "DATA").images == "DATA"
    assert find_task(f"own={path}", None).task.name == "own"
    (tmp_path / "x=1").mkdir()
    odd = write_lines(tmp_path / "x=1" / "mine.jsonl", [choice_record(0, "a dog", "A", PAIR)])
    assert find_task(str(odd), None).path == str(odd)


def test_what_is_not_found_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no task 'dtd': choose one of bison, svo"):
        find_task("dtd", None)
    with pytest.raises(BadInput, match="task bison: where are its questions and images"):
        find_task("bison", None)
    with pytest.raises(BadInput, match=r"has no question file of the task bison \(BISON\*.jsonl or"):
        find_task("bison", str(tmp_path))
    with pytest.raises(BadInput, match="is no local folder"):
        find_task("bison", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="names no file"):
        find_task("bison=", str(tmp_path))
    for text in (f"own={tmp_path / 'none.jsonl'}", f"svo={tmp_path / 'none.jsonl'}", str(tmp_path / "none.jsonl")):
        with pytest.raises(BadInput, match=r"none.jsonl: does not exist"):
            find_task(text, None)
    for name in ("BISON.jsonl", "bison_2.jsonl"):
        write_lines(tmp_path / name, [choice_record(0, "a dog", "A", PAIR)])
    with pytest.raises(BadInput, match=r"several files for the task bison \(BISON.jsonl, bison_2.jsonl\)"):
        find_task("bison", str(tmp_path))


def test_questions_of_another_kind_are_counted(tmp_path: Path) -> None:
    records = [
        choice_record(0, "a dog", "A", PAIR),
        choice_record(1, "a dog", "True", PAIR),
        choice_record(2, "a dog", "C", PAIR),
    ]
    read = load_questions(find_task(f"bison={write_lines(tmp_path / 'b.jsonl', records)}", None))
    assert len(read.questions) == 1
    assert read.skipped == {"an answer of another kind than the task's": 2}
    with pytest.raises(BadInput, match="none of its questions is one of nlvr2"):
        load_questions(find_task(f"nlvr2={tmp_path / 'b.jsonl'}", None))


def test_rounds_are_joined_to_pairs(tmp_path: Path) -> None:
    records = [choice_record(f"{n // 2}_{n % 2}", "a dog", "AB"[n % 2], PAIR) for n in range(4)]
    path = write_lines(tmp_path / "rounds.jsonl", records)
    for name in (f"cola={path}", str(path)):
        assert [each.pair for each in load_questions(find_task(name, None)).questions] == ["0", "0", "1", "1"]
    assert [each.pair for each in load_questions(find_task(f"svo={path}", None)).questions] == [None] * 4
    # A file that ends in the middle of a pair.
    cut = load_questions(find_task(f"cola={path}", None), limit=3)
    assert [each.pair for each in cut.questions] == ["0", "0", "1"]


def test_drawn_scenes_are_told_from_the_benchmarks_own_files(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "BISON.jsonl", [choice_record(0, "a dog", "A", PAIR)])
    assert not find_task("bison", str(tmp_path)).drawn
    (tmp_path / "pair_tasks.json").write_text("{}")
    assert find_task("bison", str(tmp_path)).drawn
    assert find_task(f"own={path}", None).drawn


def test_eqben_counts_by_the_first_folder_of_its_images(tmp_path: Path) -> None:
    images = ("eqbensd/844/image0.png", "eqbensd/844/image1.png")
    records = [choice_record(f"0_{n}", "a dog", "AB"[n], images) for n in (0, 1)]
    read = load_questions(find_task(f"eqben={write_lines(tmp_path / 'e.jsonl', records)}", None))
    assert {each.category for each in read.questions} == {"eqbensd"}
