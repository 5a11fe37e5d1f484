"""The demo's run as commands, which its report shows under "The same, by hand". They come from the demo's settings."""

from __future__ import annotations

import shlex
from pathlib import Path

from jobs.demo.settings import (
    CONCEPTS,
    CUSTOMIZE,
    ENTITY,
    EXCLUDED,
    MODE,
    MODEL,
    NEAR_DUPLICATES,
    SHARD,
    STRATEGY_SETS,
    TASK,
    TEMPLATES,
    K,
    strategy_mix,
)
from mining.strategies.registry import STRATEGIES

__all__ = ["commands"]


def commands(out: str, scenes: int, executor: str, workers: int | None) -> list[str]:
    """The commands that do what `run_demo` with these arguments does, stage by stage, into the same folders.

    Run again on a finished demo, each finds its output complete.
    """
    place = {name: shlex.quote(str(Path(out) / name)) for name in _FOLDERS}
    drawn = f"--shard-size {SHARD} --workers {workers or 2}"
    embed = f"--model-dir {MODEL} --executor {executor}" + (f" --workers {workers}" if workers else "")
    few = f" --workers {workers}" if workers else ""
    duplicates = f"--near-duplicates {NEAR_DUPLICATES}"
    train = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in CUSTOMIZE.items())
    return [
        f"python -m scenes.tars --split corpus --count {scenes} --out {place['corpus']} {drawn}",
        f"python -m scenes.tars --split test --count {EXCLUDED} --out {place['test_corpus']} {drawn}",
        f"clipmine embed {place['corpus']} --out {place['store']} {embed}",
        f"clipmine embed {place['test_corpus']} --out {place['test_store']} {embed}",
        f"clipmine index {place['store']}{few}",
        f"clipmine retrieve {place['store']} --concepts {CONCEPTS} --mode {MODE} -k {min(K, scenes)} "
        f"--templates {TEMPLATES} {duplicates} --exclude {place['test_store']} --exclude-threshold {NEAR_DUPLICATES} "
        f"--out {place['selection']}",
        f"clipmine export {place['selection']} --out {place['export']}",
        f"clipmine mine {place['store']} --strategy {strategy_mix()} --sets {STRATEGY_SETS * len(STRATEGIES)} "
        f"--entity {ENTITY} {duplicates} --out {place['pairs']}",
        f"clipmine customize {place['store']} {place['selection']} {train} --out {place['customized']}",
        f"clipmine evaluate {MODEL} {place['customized']} --task {shlex.quote(str(Path(out) / 'held_out' / TASK))} "
        f"--out {place['evaluation']}",
    ]


_FOLDERS = (
    "corpus",
    "test_corpus",
    "store",
    "test_store",
    "selection",
    "export",
    "pairs",
    "customized",
    "evaluation",
)
