"""Tables of the ablation: a row an arm, a column a figure; means over seeds with the range of the seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.cad_ablation.arms import ARMS, COLUMNS, SAME
from benchmarks.cad_ablation.run_arm import Result
from scenes.comparing.axes import CAD_AXES

TITLES = {
    "7": "Components of the instruction data (CaD-VI, table 7)",
    "5": "Phase 2 on edited pairs (CaD-VI, table 5)",
    "6": "Phase 2 on frames (CaD-VI, table 6)",
    "strategy": "Which mining strategy teaches most, at equal counts",
}


@dataclass(frozen=True)
class Cell:
    """A figure over seeds, as shares. low, high: the seeds' least and greatest; missing: seeds that lack the figure."""

    mean: float
    low: float
    high: float
    seeds: int = 1
    missing: int = 0

    def __str__(self) -> str:
        text = f"{100 * self.mean:.1f}"
        if self.low != self.high:
            text += f" ({100 * self.low:.1f}-{100 * self.high:.1f})"
        return f"{text} of {self.seeds}" if self.missing else text


def cells_of(results: Sequence[Result], keys: Iterable[str] = COLUMNS) -> dict[str, Cell]:
    """The cells of one row from its results, one a seed; a figure that no seed has is missing."""
    cells = {}
    for key in keys:
        values = [value for each in results if (value := (each["figures"].get(key) or {}).get("value")) is not None]
        if values:
            cells[key] = Cell(
                sum(values) / len(values), min(values), max(values), len(values), len(results) - len(values)
            )
    return cells


def tables_of(results: Sequence[Result]) -> dict[str, dict[str, tuple[str, dict[str, Cell]]]]:
    """table -> row -> (what it was tuned on, its cells). Rows that are another table's stand in both."""
    found: dict[str, dict[str, tuple[str, dict[str, Cell]]]] = {}
    by_row = {
        (arm.table, arm.row): [r for r in results if (r["table"], r["row"]) == (arm.table, arm.row)] for arm in ARMS
    }
    base = [result for result in results if result["table"] == "base"]
    for table in TITLES:
        rows = {row: (arm.what, by_row[table, row]) for arm in ARMS if arm.table == table for row in (arm.row,)}
        for (own, row), other in SAME.items():
            if own == table:
                what = next(arm.what for arm in ARMS if (arm.table, arm.row) == other)
                rows[row] = (what, by_row[other])
        measured = {row: (what, cells_of(own)) for row, (what, own) in sorted(rows.items()) if own}
        if measured:
            found[table] = {**({"base": ("before tuning", cells_of(base))} if base else {}), **measured}
    return found


def markdown(table: str, rows: dict[str, tuple[str, dict[str, Cell]]]) -> str:
    """One table as Markdown."""
    head = f"| | tuned on | {' | '.join(COLUMNS.values())} |\n|---|---|{'---|' * len(COLUMNS)}"
    lines = [
        f"| {row} | {what} | {' | '.join(str(cells[key]) if key in cells else '' for key in COLUMNS)} |"
        for row, (what, cells) in rows.items()
    ]
    return "\n".join([f"### {TITLES[table]}", "", head, *lines])


def by_axis(results: Sequence[Result], kind: str) -> str:
    """The shares of differences or commonalities that were found and that are true, by axis, as a Markdown table."""
    keys = {axis: (f"{kind} recall: {axis}", f"{kind} precision: {axis}") for axis in CAD_AXES}
    lines = [f"| {kind}: found, true | {' | '.join(CAD_AXES)} |", f"|---|{'---|' * len(CAD_AXES)}"]
    for arm in ARMS:
        own = [result for result in results if (result["table"], result["row"]) == (arm.table, arm.row)]
        cells = cells_of(own, [key for pair in keys.values() for key in pair])
        if cells:
            shown = (", ".join(_rounded(cells.get(key)) for key in keys[axis]) for axis in CAD_AXES)
            lines.append(f"| {arm.table}-{arm.row} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _rounded(cell: Cell | None) -> str:
    return "-" if cell is None else f"{100 * cell.mean:.0f}"
