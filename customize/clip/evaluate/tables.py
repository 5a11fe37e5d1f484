"""Results as tables (Markdown and CSV) and figures: models are rows, tasks columns, runs of several seeds one cell.

A cell is the mean over the seeds with its 95% interval (Student's t).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from customize.markdown import markdown_table
from index.errors import MissingDependency
from index.files import write_atomic

__all__ = ["Interval", "Table", "over_seeds", "result_tables", "write_tables"]

# Two-sided 95% quantiles of Student's t for 1 to 30 degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.2).
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_Z = 1.960  # the normal distribution's, for more degrees of freedom
_COLORS = "#1f4e79", "#c26a1b", "#5b8a3a", "#8a4f7d", "#7a7a7a", "#b5a642", "#3a8a8a"  # readable side by side


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95% interval and the number of runs; the bounds are None for one run."""

    mean: float
    low: float | None
    high: float | None
    runs: int

    @property
    def half(self) -> float | None:
        """Half of the interval's width."""
        return None if self.high is None else self.high - self.mean


def over_seeds(values: Sequence[float]) -> Interval:
    """The mean of runs that differ in their seed, with Student's t interval of it. ValueError for no values."""
    if not values:
        raise ValueError("no runs")
    count, mean = len(values), math.fsum(values) / len(values)
    if count == 1:
        return Interval(mean, None, None, 1)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = (_T[count - 2] if count - 1 <= len(_T) else _Z) * deviation / math.sqrt(count)
    return Interval(mean, mean - half, mean + half, count)


@dataclass(frozen=True)
class Table:
    """Shares from 0 to 1 by row and column; a missing cell was not measured."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Interval]]

    def markdown(self) -> str:
        """A Markdown table, in percent with one digit and half of the interval's width."""
        rows = [(row, *(self._cell(cells.get(name)) for name in self.columns)) for row, cells in self.rows.items()]
        return markdown_table(("", *self.columns), rows)

    def csv(self) -> str:
        """Lines of row, column, mean, low, high, runs; the shares are not turned into percent."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["row", "column", "mean", "low", "high", "runs"])
        for name, cells in self.rows.items():
            for column in self.columns:
                if column in cells:
                    cell = cells[column]
                    writer.writerow([name, column, cell.mean, cell.low, cell.high, cell.runs])
        return buffer.getvalue()

    def _cell(self, cell: Interval | None) -> str:
        if cell is None:
            return ""
        half = f" ± {100 * cell.half:.1f}" if cell.half is not None else ""
        return f"{100 * cell.mean:.1f}{half}"

    def figure(self, path: str | Path) -> None:
        """Draw a bar with its interval for each cell, grouped by column. MissingDependency without matplotlib."""
        try:
            import matplotlib
        except ImportError as error:
            raise MissingDependency("matplotlib", "a figure of the results") from error
        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(max(4.0, 1.6 * len(self.columns)), 3.2), layout="constrained")
        width = 0.8 / max(1, len(self.rows))
        for number, (name, cells) in enumerate(self.rows.items()):
            at = [place for place, column in enumerate(self.columns) if column in cells]
            found = [cells[self.columns[place]] for place in at]
            axes.bar(
                [place - 0.4 + (number + 0.5) * width for place in at],
                [100 * cell.mean for cell in found],
                width,
                yerr=[100 * (cell.half or 0.0) for cell in found],
                label=name,
                color=_COLORS[number % len(_COLORS)],
                error_kw={"linewidth": 1},
            )
        axes.set_xticks(range(len(self.columns)), self.columns)
        axes.set_ylabel("%")
        axes.set_title(self.title, fontsize=10)
        axes.legend(fontsize=8)
        figure.savefig(path, dpi=110)
        pyplot.close(figure)


def result_tables(results: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Make one table for each setting, such as "finetune 5-shot", from the results of runs.

    results: what `customize.clip.evaluate.runs.Bench.measure` returns, with the run's `model`, `task` and `setting`.
    """
    settings = dict.fromkeys(str(result["setting"]) for result in results)
    return [_setting_table(setting, [one for one in results if one["setting"] == setting]) for setting in settings]


def _setting_table(setting: str, results: Sequence[Mapping[str, Any]]) -> Table:
    values: dict[str, dict[str, list[float]]] = {}  # model -> column -> one value a seed
    for result in results:
        row = values.setdefault(result["model"], {})
        for part, value in (result.get("columns") or {"": result["score"]}).items():
            row.setdefault(f"{result['task']} {part}".strip(), []).append(value)
    columns = list(dict.fromkeys(column for row in values.values() for column in row))
    rows: dict[str, dict[str, Interval]] = {
        model: {column: over_seeds(found) for column, found in row.items()} for model, row in values.items()
    }
    if len(columns) > 1 and all(not result.get("columns") for result in results):
        # The mean over tasks, seed by seed, as the thesis's table 2.2 averages 20 sets.
        for model, row in values.items():
            if len({len(found) for found in row.values()}) == 1 and len(row) == len(columns):
                by_seed = [sum(found) / len(found) for found in zip(*row.values(), strict=True)]
                rows[model]["mean"] = over_seeds(by_seed)
        columns.append("mean")
    return Table(setting, tuple(columns), rows)


def write_tables(tables: Sequence[Table], out: str | Path, *, figures: bool = True) -> list[Path]:
    """Write OUT/results.md, OUT/results.csv and one OUT/results_N.png a table; returns their paths."""
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    text = "\n".join(f"## {table.title}\n\n{table.markdown()}" for table in tables)
    head, *_ = tables[0].csv().splitlines()
    rows = [f"table,{head}"]
    for table in tables:
        rows += [f"{_quoted(table.title)},{line}" for line in table.csv().splitlines()[1:]]
    write_atomic(root / "results.md", text)
    write_atomic(root / "results.csv", "\n".join(rows) + "\n")
    paths = [root / "results.md", root / "results.csv"]
    if figures:
        for number, table in enumerate(tables):
            paths.append(root / f"results_{number}.png")
            table.figure(paths[-1])
    return paths


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
