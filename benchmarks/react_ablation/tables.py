"""Tables of the ablation's results: one for each axis and task, one for the few-shot probes."""

from __future__ import annotations

from typing import Any

from benchmarks.react_ablation.arms import Arm
from benchmarks.react_ablation.run_arm import Result
from customize.clip.evaluate.tables import Table, over_seeds

NOT_MEASURED = ("share", "gamma", "lr")  # numbers of a result that describe its arm


def tables_of(results: list[Result]) -> list[Table]:
    """One table for each axis and task: a row for each value, cells over seeds, first the model before training.

    Every axis varies the default arm of the axis `strategy`, so that arm is the last row of each such table.
    """
    base = [result for result in results if result["axis"] == "base"]
    groups = sorted({name for result in base for name in result["groups"]})
    tables = []
    for axis, task in dict.fromkeys((result["axis"], result["task"]) for result in results if result not in base):
        own = sorted((r for r in results if (r["axis"], r["task"]) == (axis, task)), key=lambda r: r["seed"])
        rows = {} if axis == "learning rate" else {"before": base}  # measured on other images
        rows |= {value: [r for r in own if r["value"] == value] for value in dict.fromkeys(r["value"] for r in own)}
        if axis in ("mode", "size", "gamma", "source"):
            default = [r for r in results if (r["axis"], r["task"], r["strategy"]) == ("strategy", task, Arm.strategy)]
            rows |= {"default (both, all, 0.9, retrieved)": default} if default else {}
        columns = [name for name in own[0] if isinstance(own[0][name], float) and name in base[0]]
        columns = [name for name in columns if name not in NOT_MEASURED and "probe" not in name]
        shown_groups = groups if "groups" in own[0] else []
        cells = {
            str(name): {
                **{column: over_seeds([run[column] for run in runs]) for column in columns},
                **{group: over_seeds([run["groups"][group] for run in runs]) for group in shown_groups},
            }
            for name, runs in rows.items()
        }
        tables.append(Table(f"{axis}, {task}", (*columns, *shown_groups), cells))
    probed = {"before": base, "after": [r for r in results if "probe full" in r and r not in base]}
    probes = [name for name in base[0] if "probe" in name]
    if probed["after"]:
        cells = {
            name: {probe: over_seeds([r[probe] for r in runs]) for probe in probes} for name, runs in probed.items()
        }
        tables.append(Table("few shots, classification", tuple(probes), cells))
    return tables


def means(cells: Any) -> dict[str, float]:
    return {name: round(cell.mean, 4) for name, cell in cells.items()}


def shown(result: Result) -> str:
    return ", ".join(
        f"{name} {100 * value:.1f}"
        for name, value in result.items()
        if isinstance(value, float) and name not in NOT_MEASURED
    )
