"""Items for the executors' tests: workers import them from here, as they import a job's own."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

from index.errors import MissingDependency, StoreInvalid


@dataclass(frozen=True)
class Number:
    number: int


@dataclass(frozen=True)
class Square:
    rows: int
    process: int
    threads: str


@dataclass(frozen=True)
class Trouble:
    """What goes wrong, and at which number."""

    at: int = -1
    how: str = ""
    folder: str = ""


def square(item: Number, config: Trouble) -> Square:
    """The number squared, unless the config says that this number is trouble."""
    if item.number == config.at:
        if config.how == "store":
            raise StoreInvalid(f"part {item.number} of the store lacks 3 rows: run embed again")
        if config.how == "java":
            raise MissingDependency("java", "--executor spark", command="apt-get install java")
        if config.how == "disk":
            with open("/dev/full", "w") as full:
                full.write("x")
        if config.how == "bug":
            raise ZeroDivisionError("three parts\nof nothing")
        if config.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if config.how == "killed once" and _first_time(Path(config.folder) / "killed"):
            os.kill(os.getpid(), signal.SIGKILL)
    if config.folder:
        (Path(config.folder) / f"{item.number}.done").write_text(str(threading.get_native_id()))
    return Square(item.number**2, os.getpid(), os.environ.get("OMP_NUM_THREADS", ""))


def _first_time(marker: Path) -> bool:
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
