"""The tables of the grid in Markdown: arms with their differences from the base, probes, and precision by rule."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.react_gain.claims import Result, Runs
from benchmarks.react_gain.pilot import Figures
from customize.markdown import markdown_table

THESIS = {  # ImageNet zero-shot of ViT-B/32, tables 2.1 and 2.6 of the thesis
    "before": "63.2",
    "pairs retrieved": "68.6",
    "strategy locked-text": "66.9",
    "strategy locked-image": "63.7",
    "strategy full": "64.3",
    "strategy gated-text": "63.0",
    "strategy gated-both": "68.7",
}


def arms_table(results: list[Result]) -> str:
    """Accuracy on domain pictures among all names, the paired difference from the base, and what happened to others."""
    runs = Runs(results)
    rows = []
    for name, own in runs.by_arm.items():
        cells = [name, THESIS.get(name, ""), _mean(own, "test"), "", "", _mean(own, "other"), "", ""]
        if name != "before":
            cells[3], cells[6] = (_signed(runs.difference(name, "before", kind)) for kind in ("test", "other"))
            cells[4] = str(round(float(np.mean([run["pairs"] for run in own]))))
            cells[7] = str(len(own))
        rows.append(tuple(cells))
    header = ("arm", "ImageNet, thesis", "domain", "over the base", "pairs", "other types", "over the base", "seeds")
    return markdown_table(header, rows)


def tuning_table(results: list[Result]) -> str:
    """Accuracy on validation pictures of the trainings that the recipe is chosen from."""
    rows = [(r["value"], f"{100 * r['validation']:.1f}", f"{r.get('alike', 0):.3f}") for r in results]
    return markdown_table(("training", "validation", "texts that count as the same"), rows)


def probes_table(results: list[Result]) -> str:
    """Linear probes before and after the default arm; empty without any."""
    runs = Runs(results)
    names = [name for name in runs.by_arm.get("before", [{}])[0] if name.startswith("probe") and "right" not in name]
    rows = [
        (name, _mean(runs.by_arm["before"], name), _mean(runs.by_arm["pairs retrieved"], name), _signed(found))
        for name in names
        if (found := runs.difference("pairs retrieved", "before", name)) is not None
    ]
    return markdown_table(("linear probe, pictures a concept", "before", "after", "difference"), rows) if rows else ""


def precision_table(figures: Figures) -> str:
    """The precision of selections by mode, number of pairs and rule."""
    rows = []
    for name, found in figures.items():
        shares = ["" if math.isnan(found[key]) else f"{100 * found[key]:.1f}" for key in ("shows", "fits", "chance")]
        rows.append((name, f"{found['rows']:,.0f}", *shares, f"{found['empty']:.0f}"))
    header = ("selection", "rows", "shows the concept", "shows and names it", "by chance", "concepts without rows")
    return markdown_table(header, rows)


def shown(result: Result) -> str:
    """The figures of one run in a line."""
    keys = [key for key in ("validation", "test", "other") if key in result]
    said = ", ".join(f"{key} {100 * result[key]:.1f}" for key in keys)
    if "alike" in result:
        said += f", alike {result['alike']:.3f}, gates {result['gates'].get('image', 0):.3f}"
        said += f", loss {result['loss'][0]:.2f} to {result['loss'][1]:.2f}, {result['train_seconds']:.0f} s"
    return said


def _mean(runs: list[Result], key: str) -> str:
    values = [run[key] for run in runs if key in run]
    return f"{100 * float(np.mean(values)):.1f}" if values else ""


def _signed(found: tuple[float, float, float] | None) -> str:
    return "" if found is None else f"{found[0]:+.1f} ({found[1]:+.1f} to {found[2]:+.1f})"
