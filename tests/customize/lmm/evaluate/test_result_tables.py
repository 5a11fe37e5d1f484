"""Tables of several models beside the papers' numbers, in four formats."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from customize.lmm.evaluate.intervals import mean_figure, share_figure
from customize.lmm.evaluate.model_score import ModelScore
from customize.lmm.evaluate.result_tables import result_tables, shown_figure, write_results
from customize.lmm.evaluate.scores import TaskScore
from customize.lmm.evaluate.tasks import TASKS


def of_task(model: str, task: str, right: int, failed: int = 0) -> ModelScore:
    figures = {"accuracy": share_figure(right, 10, failed), "says A": share_figure(5, 10)}
    failures = {"image missing": failed} if failed else {}
    return ModelScore(model, task, TaskScore(10 + failed, 10, failures, 1, 0, "accuracy", figures, {"broken JSON": 2}))


SUMMARIES = ModelScore(
    "mine",
    "cad-summaries",
    TaskScore(
        2,
        2,
        {},
        0,
        0,
        "commonalities",
        {
            "commonalities": mean_figure([2.0, 4.0], unit="rating", most=5.0),
            "differences": mean_figure([1.0, 1.0], unit="rating", most=5.0),
        },
    ),
    judge="judge",
)


def test_a_figure_is_shown_with_interval_and_count() -> None:
    assert shown_figure(share_figure(8, 10)) == "80.0 [49.0, 94.3] of 10"
    assert shown_figure(mean_figure([3.0], unit="rating", most=5.0)) == "3.00 of 1"
    assert shown_figure(share_figure(0, 0, failed=3)) == "none answered"


def test_models_stand_beside_the_papers_rows() -> None:
    results = [of_task("before", "bison", 5), of_task("after | tuned", "bison", 9, failed=2), SUMMARIES]
    overview, bison, summaries = result_tables(results)
    assert overview.columns == ("bison accuracy", "cad-summaries commonalities", "cad-summaries differences")
    assert overview.rows["before"]["bison accuracy"].startswith("50.0 [")
    assert overview.rows["LLaVA 1.5 7B (CaD-VI table 1)"] == {"bison accuracy": "54"}
    assert overview.rows["CaD-VI 7B (CaD-VI table 2)"] == {
        "cad-summaries commonalities": "2.32",
        "cad-summaries differences": "3.85",
    }
    assert not any("table 4" in name for name in overview.rows)
    assert any("table 1: accuracy in percent" in note for note in overview.notes)
    assert bison.rows["after | tuned"]["if failures were wrong"] == "75.0 to 91.7"
    assert bison.rows["before"]["if failures were wrong"] == "50.0"
    assert "after | tuned: 2 not answered: image missing" in bison.notes
    assert "2 records left out: broken JSON" in bison.notes
    assert "mine: rated by judge" in summaries.notes
    assert "| after \\| tuned |" in bison.markdown()
    lines = bison.plain().splitlines()
    assert lines[1].index("answered") == lines[2].index("10", lines[2].index("10") + 1)


def test_all_formats_are_written(tmp_path: Path) -> None:
    paths = write_results([of_task("mine", "bison", 5), SUMMARIES], tmp_path)
    assert [path.name for path in paths] == [f"lmm_results.{suffix}" for suffix in ("txt", "md", "csv", "json")]
    found = json.loads((tmp_path / "lmm_results.json").read_text())
    assert found[0]["figures"]["accuracy"]["right"] == 5
    rows = list(csv.DictReader((tmp_path / "lmm_results.csv").read_text().splitlines()))
    mine = next(row for row in rows if row["model"] == "mine")
    assert (mine["task"], mine["figure"], mine["value"], mine["right"]) == ("bison", "accuracy", "0.5", "5")
    paper = next(row for row in rows if row["model"] == "LLaVA 1.5 7B (CaD-VI table 1)")
    assert (paper["task"], paper["value"], paper["low"]) == ("bison", "0.54", "")
    assert {row["task"] for row in rows} == {"bison", "cad-summaries"}


def test_every_number_of_the_papers_belongs_to_a_task() -> None:
    papers = json.loads((Path(__file__).parents[4] / "customize/lmm/evaluate/papers.json").read_text())
    for about in papers.values():
        assert set(about["columns"]) <= set(TASKS)
        names = [name for given in about["columns"].values() for name in ([given] if isinstance(given, str) else given)]
        most = 5 if about["unit"] == "rating" else 100
        for numbers in about["rows"].values():
            assert len(numbers) == len(names)
            assert all(0 <= value <= most for value in numbers)
