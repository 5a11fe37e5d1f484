"""Items that take their time and leave a mark, for tests that change the cluster meanwhile."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Slow:
    number: int


@dataclass(frozen=True)
class Place:
    seconds: float
    folder: str


def visit(item: Slow, config: Place) -> tuple[int, int, str]:
    """The square of the number, and the process and node that computed it."""
    import ray

    time.sleep(config.seconds)
    (Path(config.folder) / str(item.number)).touch()
    return item.number**2, os.getpid(), ray.get_runtime_context().get_node_id()
