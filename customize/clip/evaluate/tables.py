"""Results as Markdown, CSV and a figure. Rows are models, columns are what was measured. Knows no models."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from customize.clip.evaluate.intervals import Interval
from index.errors import MissingDependency
from index.files import write_atomic

__all__ = ["Table", "write_tables"]

_GROUPS = "#1f4e79", "#c26a1b", "#5b8a3a", "#8a4f7d", "#7a7a7a", "#b5a642", "#3a8a8a"  # readable side by side


@dataclass(frozen=True)
class Table:
    """Shares from 0 to 1 by row and column; a missing cell was not measured."""

    title: str
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Interval]]
    percent: bool = True

    def markdown(self) -> str:
        """A Markdown table, percent with one digit and the interval's half width."""
        lines = ["| | " + " | ".join(self.columns) + " |", "|---" * (len(self.columns) + 1) + "|"]
        for name, cells in self.rows.items():
            lines.append(f"| {name} | " + " | ".join(self._cell(cells.get(column)) for column in self.columns) + " |")
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """row, column, mean, low, high, runs; shares as they are."""
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
        factor, digits = (100, 1) if self.percent else (1, 4)
        half = f" ± {factor * cell.half:.{digits}f}" if cell.half is not None else ""
        return f"{factor * cell.mean:.{digits}f}{half}"

    def figure(self, path: str | Path) -> None:
        """Bars with their intervals, a group a column. MissingDependency without matplotlib."""
        try:
            import matplotlib
        except ImportError as error:
            raise MissingDependency("matplotlib", "a figure of the results") from error
        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(max(4.0, 1.6 * len(self.columns)), 3.2), layout="constrained")
        width, factor = 0.8 / max(1, len(self.rows)), 100 if self.percent else 1
        for number, (name, cells) in enumerate(self.rows.items()):
            at = [place for place, column in enumerate(self.columns) if column in cells]
            found = [cells[self.columns[place]] for place in at]
            axes.bar(
                [place - 0.4 + (number + 0.5) * width for place in at],
                [factor * cell.mean for cell in found],
                width,
                yerr=[factor * (cell.half or 0.0) for cell in found],
                label=name,
                color=_GROUPS[number % len(_GROUPS)],
                error_kw={"linewidth": 1},
            )
        axes.set_xticks(range(len(self.columns)), self.columns)
        axes.set_ylabel("%" if self.percent else "")
        axes.set_title(self.title, fontsize=10)
        axes.legend(fontsize=8)
        figure.savefig(path, dpi=110)
        pyplot.close(figure)


def write_tables(tables: Sequence[Table], out: str | Path, *, figures: bool = True) -> list[Path]:
    """Write OUT/results.md, results.csv and one results_N.png a table; returns the paths."""
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
