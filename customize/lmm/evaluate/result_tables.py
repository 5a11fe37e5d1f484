"""Tables of results beside the papers' numbers: plain text, Markdown, CSV and JSON.

The first table has a column for each task's main figure; after it each task has a table of all its figures. Rows of
papers name their source, such as "LLaVA 1.5 7B (CaD-VI table 1)"; their numbers are in papers.json. Questions about
drawn scenes are columns and tables of their own ("bison, drawn scenes"), which the papers' rows do not have.
"""

from __future__ import annotations

import csv
import functools
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from customize.lmm.evaluate.intervals import Figure
from customize.lmm.evaluate.scores import TaskScore
from customize.markdown import markdown_table
from index.files import write_atomic

__all__ = ["ResultTable", "Scored", "result_tables", "shown_figure", "unrated_replies", "write_results"]


class Scored(Protocol):
    """A model's score on a task."""

    @property
    def model(self) -> str: ...

    @property
    def task(self) -> str: ...

    @property
    def score(self) -> TaskScore: ...

    @property
    def judge(self) -> str | None: ...

    @property
    def drawn(self) -> bool: ...

    @property
    def unrated(self) -> Mapping[str, int]: ...

    def to_json(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class ResultTable:
    """Texts by row and column; a cell that is missing was not measured."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        rows = [(name, *(cells.get(column, "") for column in self.columns)) for name, cells in self.rows.items()]
        table = markdown_table(("", *self.columns), rows)
        return "\n".join([f"## {self.title}", "", table.rstrip("\n"), *(f"\n{note}" for note in self.notes)]) + "\n"

    def plain(self) -> str:
        """The table with aligned columns."""
        grid = [["", *self.columns]]
        grid += [[name, *(cells.get(column, "") for column in self.columns)] for name, cells in self.rows.items()]
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in grid]
        return "\n".join([self.title, *lines, *self.notes]) + "\n"


def shown_figure(figure: Figure) -> str:
    """A figure with its interval and count: "54.0 [46.0, 61.8] of 150"; ratings are not turned into percent."""
    if figure.value is None:
        return "none answered" if figure.floor is not None else ""
    scale, digits = (1, 2) if figure.unit == "rating" else (100, 1)
    text = f"{scale * figure.value:.{digits}f}"
    if figure.low is not None and figure.high is not None:
        text += f" [{scale * figure.low:.{digits}f}, {scale * figure.high:.{digits}f}]"
    return f"{text} of {figure.count:,}"


def unrated_replies(reasons: Mapping[str, int]) -> str:
    """ "2 judge replies not understood, for example no rating in 'I like it'"; reasons: each with its count."""
    count = sum(reasons.values())
    return f"{count:,} judge {'reply' if count == 1 else 'replies'} not understood, for example {next(iter(reasons))}"


def result_tables(results: Sequence[Scored]) -> list[ResultTable]:
    """The table of main figures, then one for each task."""
    names = dict.fromkeys(map(_task_name, results))
    tasks = {name: [each for each in results if _task_name(each) == name] for name in names}
    return [_overview(tasks), *(_of_task(task, own) for task, own in tasks.items())]


def _task_name(each: Scored) -> str:
    return f"{each.task}, drawn scenes" if each.drawn else each.task


def write_results(results: Sequence[Scored], out: Path) -> list[Path]:
    """Write OUT/lmm_results.txt, .md, .csv and .json; returns their paths."""
    tables = result_tables(results)
    texts = {
        "txt": "\n".join(table.plain() for table in tables),
        "md": "\n".join(table.markdown() for table in tables),
        "csv": _csv(results),
        "json": json.dumps([each.to_json() for each in results], ensure_ascii=False, indent=1) + "\n",
    }
    paths = []
    for suffix, text in texts.items():
        paths.append(out / f"lmm_results.{suffix}")
        write_atomic(paths[-1], text)
    return paths


def _overview(tasks: Mapping[str, Sequence[Scored]]) -> ResultTable:
    rows: dict[str, dict[str, str]] = {}
    columns: dict[str, str] = {}  # column -> "task figure"
    sources: dict[str, None] = {}
    for task, own in tasks.items():
        for each in own:
            for name in _main_names(each.score):
                column = f"{task} {name}"
                columns[column] = column
                rows.setdefault(each.model, {})[column] = shown_figure(each.score.figures[name])
    for table, about in _papers().items():
        for name, numbers in about["rows"].items():
            found = dict(zip(_paper_columns(about), numbers, strict=True))
            shown = {column: f"{value:g}" for column, value in found.items() if column in columns}
            if shown:
                rows.setdefault(f"{name} ({table})", {}).update(shown)
                sources[about["source"]] = None
    notes = ["Shares in percent with 95% intervals, over the questions that were answered."]
    if sources:
        notes.append("Rows of papers are over the benchmarks' own questions; other questions do not compare with them.")
    notes += sources
    return ResultTable("Models and tasks", tuple(columns), rows, tuple(notes))


def _of_task(task: str, results: Sequence[Scored]) -> ResultTable:
    figures = dict.fromkeys(name for each in results for name in each.score.figures)
    columns = ("questions", "answered", *figures, "if failures were wrong", "not understood", "cut")
    rows: dict[str, dict[str, str]] = {}
    notes = []
    for each in results:
        score = each.score
        row = {name: shown_figure(figure) for name, figure in score.figures.items()}
        row |= {"questions": f"{score.questions:,}", "answered": f"{score.answered:,}"}
        row |= {"not understood": f"{score.not_understood:,}", "cut": f"{score.cut:,}"}
        row["if failures were wrong"] = _bounds(score.figures[score.main])
        rows[each.model] = row
        notes += [f"{each.model}: {count:,} not answered: {reason}" for reason, count in score.failures.items()]
        if score.without_answer:
            notes.append(f"{each.model}: {score.without_answer:,} questions without a right answer are in no figure")
        if each.judge is not None:
            notes.append(f"{each.model}: rated by {each.judge}")
        if each.unrated:
            notes.append(f"{each.model}: {unrated_replies(each.unrated)}")
    skipped = results[-1].score.skipped
    notes += [f"{count:,} records left out: {reason}" for reason, count in skipped.items()]
    return ResultTable(f"{task} ({results[0].score.main})", columns, rows, tuple(notes))


def _main_names(score: TaskScore) -> Iterable[str]:
    """The figures that stand in the first table: the main one, and for summaries both lists."""
    return ("commonalities", "differences") if score.main == "commonalities" else (score.main,)


def _bounds(figure: Figure) -> str:
    """The main figure if all failures were wrong, and if all were right."""
    if figure.floor is None or figure.ceiling is None:
        return ""
    scale, digits = (1, 2) if figure.unit == "rating" else (100, 1)
    low, high = (f"{scale * value:.{digits}f}" for value in (figure.floor, figure.ceiling))
    return low if low == high else f"{low} to {high}"


@functools.cache
def _papers() -> Mapping[str, Mapping[str, Any]]:
    text = (resources.files("customize.lmm.evaluate") / "papers.json").read_text(encoding="utf-8")
    found: dict[str, Mapping[str, Any]] = json.loads(text)
    return found


def _paper_columns(about: Mapping[str, Any]) -> list[str]:
    """ "TASK FIGURE" for each number of a row."""
    return [
        f"{task} {name}"
        for task, names in about["columns"].items()
        for name in ([names] if isinstance(names, str) else names)
    ]


def _csv(results: Sequence[Scored]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["model", "task", "figure", "unit", "value", "low", "high", "count", "right", "floor", "ceiling"])
    for each in results:
        for name, figure in each.score.figures.items():
            numbers = [figure.value, figure.low, figure.high, figure.count, figure.right, figure.floor, figure.ceiling]
            writer.writerow([each.model, _task_name(each), name, figure.unit, *numbers])
    measured = set(map(_task_name, results))
    for table, about in _papers().items():
        scale = 100 if about["unit"] == "share" else 1
        for name, numbers in about["rows"].items():
            for column, value in zip(_paper_columns(about), numbers, strict=True):
                task, _, figure_name = column.partition(" ")
                if task in measured:
                    row = [f"{name} ({table})", task, figure_name, about["unit"], round(value / scale, 6)]
                    writer.writerow([*row, *[None] * 6])
    return buffer.getvalue()
