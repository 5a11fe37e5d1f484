"""Intervals against textbook values, and the same figures as Markdown, CSV and a picture."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from customize.clip.evaluate.tables import Table, over_seeds, result_tables, write_tables

TABLE = Table(
    "zero-shot, of 20",
    ("dtd", "mnist"),
    {"CLIP": {"dtd": over_seeds([0.443])}, "REACT": {"dtd": over_seeds([0.5, 0.52, 0.54]), "mnist": over_seeds([0.6])}},
)


def test_three_seeds_have_students_t_interval() -> None:
    found = over_seeds([0.60, 0.62, 0.64])
    assert found.mean == pytest.approx(0.62)
    assert found.half == pytest.approx(4.303 * 0.02 / 3**0.5)
    assert [found.low, found.high] == pytest.approx([0.5703, 0.6697], abs=1e-4)


def test_one_run_has_no_interval() -> None:
    assert over_seeds([0.5]).half is None
    with pytest.raises(ValueError, match="no runs"):
        over_seeds([])


def test_markdown_shows_percent_and_the_interval() -> None:
    assert TABLE.markdown().splitlines() == [
        "| | dtd | mnist |",
        "|---|---|---|",
        "| CLIP | 44.3 | |",
        "| REACT | 52.0 ± 5.0 | 60.0 |",
    ]


def test_files_hold_every_cell(tmp_path: Path) -> None:
    paths = write_tables([TABLE], tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [(row["table"], row["row"], row["column"], row["runs"]) for row in rows] == [
        ("zero-shot, of 20", "CLIP", "dtd", "1"),
        ("zero-shot, of 20", "REACT", "dtd", "3"),
        ("zero-shot, of 20", "REACT", "mnist", "1"),
    ]
    assert [path.name for path in paths] == ["results.md", "results.csv", "results_0.png"]
    assert paths[-1].read_bytes().startswith(b"\x89PNG")


def result(model: str, task: str, score: float, setting: str = "zeroshot", **more: Any) -> dict[str, Any]:
    return {"model": model, "task": task, "score": score, "setting": setting, **more}


def test_each_setting_is_a_table_and_seeds_are_one_cell() -> None:
    few = "finetune 5-shot"
    probe, zero = result_tables(
        [result("CLIP", "dtd", 0.4, few), result("CLIP", "dtd", 0.6, few), result("CLIP", "dtd", 0.3)]
    )
    assert (probe.title, probe.columns) == (few, ("dtd",))
    assert (probe.rows["CLIP"]["dtd"].mean, probe.rows["CLIP"]["dtd"].runs) == (0.5, 2)
    assert zero.rows["CLIP"]["dtd"].mean == 0.3


def test_several_tasks_have_a_mean_for_the_models_that_have_all_of_them() -> None:
    results = [result("CLIP", "dtd", 0.4), result("CLIP", "mnist", 0.6), result("REACT", "dtd", 0.5)]
    (table,) = result_tables(results)
    assert table.columns == ("dtd", "mnist", "mean")
    assert table.rows["CLIP"]["mean"].mean == pytest.approx(0.5)
    assert "mean" not in table.rows["REACT"]


def test_a_protocol_with_several_figures_has_a_column_for_each_and_no_mean() -> None:
    (table,) = result_tables([result("CLIP", "coco", 0.5, columns={"I2T R@1": 0.6, "T2I R@1": 0.4})])
    assert table.columns == ("coco I2T R@1", "coco T2I R@1")
    assert table.rows["CLIP"]["coco T2I R@1"].mean == 0.4
