"""The demo's settings, and the same run as commands: both come from the constants here."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any, Literal

import scenes as scenes_package
from mining.strategies.registry import STRATEGIES

SHARD = 1_000  # scenes a tar
EXCLUDED = 500  # scenes of the test split, which stand for an evaluation set
K = 60  # rows a prompt
MODE: Literal["both"] = "both"  # T2I and T2T
TEMPLATES = "simple"
# Cosine from which two drawn scenes count as duplicates. Set by eye after clip-retrieval's 0.94 dropped 3,445 of 20,160
# hits as near-duplicates of the evaluation set; not calibrated against the scenes' truth.
NEAR_DUPLICATES = 0.985

# Sets of each strategy: enough to fill the levels, few enough for a demo.
STRATEGY_SETS = 200
ENTITY = "truth.objects.entity"  # the metadata field that names an individual

# Chosen by the time that a demo may take, and on 960 pictures of the validation split: 87.0% were named right before
# training and 88.7% after 190 steps. Two epochs, so that caching the frozen blocks' activations pays; a smaller demo
# trains for fewer steps. The report shows pictures of the test split.
CUSTOMIZE: dict[str, Any] = {
    "strategy": "locked-text-gated-image",
    "gated_blocks": 2,
    "batch_size": 64,
    "epochs": 2,
    "lr": 4e-3,
    "warmup": 15,
    "augment": "none",
    "device": "cpu",
}

_WORLD = Path(next(iter(scenes_package.__path__)))
MODEL = os.path.relpath(_WORLD / "models" / "clip")
CONCEPTS = os.path.relpath(_WORLD / "concepts.txt")
HELD_OUT = 40  # held-out pictures a concept: 24 concepts make 960
TASK = "task.yaml"  # in the demo's folder of held-out pictures


def strategy_mix() -> str:
    """All mining strategies in equal shares, as `--strategy` takes them."""
    return ",".join(STRATEGIES)


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
