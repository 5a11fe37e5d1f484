"""Changes in processes of their own, which can be stopped before any of their writes, and killed there or at any time.

A process is forked from a server that has imported what changes need, so that it starts in some milliseconds. It counts
what it does to files of the sequence's folder (opening to write, renaming, removing, making folders) by Python's audit
events, and waits before the one whose number it was given. So a kill there happens at the same place when the sequence
is run again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Outcome", "Running", "start"]

_WRITES = frozenset({"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"})
_FOR_WRITING = os.O_WRONLY | os.O_RDWR
# What changes and services would import in each process. pyarrow imports pandas, which takes 0.7 s.
_IMPORTED = (
    "faiss", "torch", "open_clip", "pandas", "numpy.ma", "_strptime", "pyarrow.parquet", "uvicorn", "httptools",
    "uvicorn.lifespan.on", "uvicorn.protocols.http.auto", "uvicorn.loops.auto", "uvicorn.protocols.websockets.auto",
    "index.corpus.batches", "jobs.executors.local", "tests.changes.change_jobs", "tests.changes.server",
)  # fmt: skip
# Seconds after which a process that should have ended is a fault.
_PATIENCE = 60.0


class Outcome(NamedTuple):
    """How a process ended. what: done, refused (an error of ours), failed (another error) or killed."""

    what: str
    error: str = ""
    line: str = ""
    writes: int = 0


@cache
def context() -> ForkServerContext:
    """The server that processes are forked from."""
    made = multiprocessing.get_context("forkserver")
    # Under pytest each process imports the main module, which is pytest's.
    made.set_forkserver_preload([*_IMPORTED, *({"pytest"} & set(sys.modules))])
    return made


class Running:
    """A process that was started by `start`."""

    def __init__(self, process: Any, pipe: Connection) -> None:
        self._process, self._pipe = process, pipe
        self.pid = int(process.pid)
        self.outcome: Outcome | None = None

    def stopped(self) -> bool:
        """Wait until it stops before its write, or ends; whether it has stopped."""
        return self._receive() == "stopped"

    def go_on(self) -> None:
        """Let it go on after a stop."""
        self._pipe.send("go on")

    def kill(self, after: float = 0.0) -> Outcome:
        """Kill it after so many seconds; how it ended, which may have been before."""
        self._process.join(after)
        if self._process.is_alive():
            os.kill(self.pid, signal.SIGKILL)
        return self.end()

    def end(self) -> Outcome:
        """Wait until it has ended."""
        while self.outcome is None:
            self._receive()
        self._process.join(_PATIENCE)
        self._pipe.close()
        return self.outcome

    def _receive(self) -> str:
        try:
            if not self._pipe.poll(_PATIENCE):
                self._process.kill()
                self.outcome = Outcome("failed", "TimeoutError", f"did not end in {_PATIENCE:.0f} s")
                return "ended"
            told = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self.outcome = Outcome("killed")
            return "ended"
        if isinstance(told, Outcome):
            self.outcome = told
            return "ended"
        return str(told)


def start(function: Callable[..., None], *arguments: Any, folder: Path, stop: int | None = None) -> Running:
    """Run a function in a process, which stops before write number `stop` (from 1) to the folder."""
    ours, theirs = context().Pipe()
    process = context().Process(target=_run, args=(function, arguments, str(folder), stop, theirs), daemon=True)
    process.start()
    theirs.close()
    return Running(process, ours)


def _run(function: Callable[..., None], arguments: tuple[Any, ...], folder: str, stop: int | None, pipe: Any) -> None:
    from index.errors import ClipmineError

    log = os.open(f"{folder}/log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    count = _count_writes(folder, stop, pipe)
    try:
        function(*arguments)
        outcome = Outcome("done", writes=count())
    except ClipmineError as error:
        outcome = Outcome("refused", type(error).__name__, str(error), count())
    except BaseException as error:
        outcome = Outcome("failed", type(error).__name__, traceback.format_exc(), count())
    pipe.send(outcome)


def _count_writes(folder: str, stop: int | None, pipe: Any) -> Callable[[], int]:
    writes, inside = 0, False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal writes, inside
        is_write = event in _WRITES or (event == "open" and bool(arguments[2] & _FOR_WRITING))
        if not is_write or inside or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if not os.fsdecode(arguments[0]).startswith(folder):
            return
        writes += 1
        if writes == stop:
            inside = True
            pipe.send("stopped")
            pipe.recv()
            inside = False

    sys.addaudithook(hook)
    return lambda: writes
