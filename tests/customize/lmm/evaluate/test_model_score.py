"""Results of earlier calls: read back as they were, replaced by newer ones, refused where they are another file."""

from __future__ import annotations

from pathlib import Path

import pytest

from customize.lmm.evaluate.intervals import share_figure
from customize.lmm.evaluate.model_score import RESULTS, ModelScore, merged, read_results
from customize.lmm.evaluate.result_tables import write_results
from customize.lmm.evaluate.scores import TaskScore
from index.errors import BadInput


def scored(model: str, task: str, right: int, *, drawn: bool = False) -> ModelScore:
    figures = {"accuracy": share_figure(right, 10), "accuracy, tolerant": share_figure(0, 0, failed=2)}
    score = TaskScore(12, 10, {"image missing": 2}, 1, 0, "accuracy", figures, {"broken JSON": 2}, 3)
    return ModelScore(model, task, score, judge="judge", drawn=drawn, unrated={"no rating in 'x'": 2})


def test_results_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    assert read_results(tmp_path) == []
    found = [scored("one", "bison", 5), scored("two", "bison", 6, drawn=True)]
    write_results(found, tmp_path)
    assert read_results(tmp_path) == found


def test_a_newer_result_replaces_that_of_its_model_and_task() -> None:
    earlier = [scored("one", "bison", 5), scored("one", "svo", 5), scored("one", "bison", 4, drawn=True)]
    new = [scored("one", "bison", 9)]
    assert merged(earlier, new) == [*earlier[1:], *new]


@pytest.mark.parametrize("text", ["[", "{}", '{"a": 1}', "[1]", '[{"model": "x", "task": "y"}]'])
def test_another_file_of_that_name_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / RESULTS).write_text(text)
    if text == "{}":
        assert read_results(tmp_path) == []
        return
    with pytest.raises(BadInput, match="is not a table that evaluate wrote"):
        read_results(tmp_path)
