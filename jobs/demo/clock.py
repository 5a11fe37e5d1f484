"""Times the stages of a demo. The time of a stage's first run is kept in a file, so that a rerun shows it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from index.files import write_atomic
from jobs.demo.report import Stage

__all__ = ["StageClock"]

T = TypeVar("T")


class StageClock:
    """stages: those that ran, by name, with the seconds of their first run. path: of the JSON file that keeps them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stages: dict[str, Stage] = {}
        if path.exists():
            self.stages = {name: Stage(**stage) for name, stage in json.loads(path.read_text()).items()}

    def run(self, name: str, what: str, rows: Callable[[T], int], work: Callable[[], T]) -> T:
        """The result of `work`. what: a line on the stage; rows: how many rows the result stands for."""
        started = time.monotonic()
        result = work()
        seconds = round(time.monotonic() - started, 2)
        if name not in self.stages:
            self.stages[name] = Stage(name, what, rows(result), seconds)
            write_atomic(str(self.path), json.dumps({n: asdict(stage) for n, stage in self.stages.items()}))
        return result
