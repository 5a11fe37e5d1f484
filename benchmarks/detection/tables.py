"""The table of a run, beside the thesis's, and the differences of the two models, paired over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from customize.clip.evaluate.tables import Interval, over_seeds

KINDS = ("novel", "base", "all")
THESIS = {"CLIP": (14.2, 52.8, 42.7), "REACT": (20.6, 55.1, 46.1)}  # table 2.4, OVD, in the order of KINDS


def table(results: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: AP50 in percent, means over the seeds with half of Student's 95% interval."""
    lines = [f"| model | {' | '.join(KINDS)} | COCO, thesis |", "|---|---|---|---|---|"]
    for model, figures in THESIS.items():
        cells = [_shown([row[kind] for row in results if row["model"] == model]) for kind in KINDS]
        lines.append(f"| {model} | {' | '.join(cells)} | {', '.join(map(str, figures))} |")
    return "\n".join(lines)


def differences(results: Sequence[dict[str, Any]]) -> dict[str, Interval]:
    """REACT's AP50 less CLIP's with the same seed, in points: with Student's interval over the seeds."""
    found: dict[str, Interval] = {}
    for kind in KINDS:
        values = {(row["model"], row["seed"]): row[kind] for row in results}
        seeds = sorted({seed for _, seed in values})
        found[kind] = over_seeds([values["REACT", seed] - values["CLIP", seed] for seed in seeds])
    return found


def _shown(values: Sequence[float]) -> str:
    cell = over_seeds(values)
    return f"{cell.mean:.1f}" if cell.half is None else f"{cell.mean:.1f} ± {cell.half:.1f}"
