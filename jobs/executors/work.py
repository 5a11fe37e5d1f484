"""What travels to a worker and back: a function, its items, and an outcome for each item.

Errors come back as data, not as pickled exceptions, so that one error reads the same from all three executors.
Knows nothing about processes, Ray or Spark.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from index.errors import ClipmineError
from index.files import disk_full

# What a worker on another machine must be able to import.
ROOT_PACKAGES = ("index", "retrieval", "customize", "mining", "jobs", "scenes")

# How often an item is tried when its worker dies under it: a node lost once is bad luck, three times is the item.
ATTEMPTS = 3


class ItemFailed(ClipmineError):
    """An item's function raised something unforeseen; the worker's traceback is in the notes."""


class WorkerDied(ClipmineError):
    """The worker of an item was killed (most often: out of memory) in every attempt."""

    def __init__(self, label: str, item: str, how: str) -> None:
        super().__init__(
            f"{label}: the worker of item {item} died {ATTEMPTS} times ({how}); "
            "if memory ran out, use fewer --workers or smaller shards, and run the same command again"
        )


@dataclass(frozen=True)
class Work:
    """A map to be done: `function(item, config)` for every item; function importable, items and config plain data."""

    label: str
    function: Callable[[Any, Any], Any]
    items: Sequence[Any]
    config: Any

    def item_name(self, position: int) -> str:
        """How messages call the item: its own `name` or `number`, else its position."""
        item = self.items[position]
        name = getattr(item, "name", None)
        return str(name if name is not None else getattr(item, "number", position))


@dataclass(frozen=True)
class Failure:
    """An exception as data: where its class is, its one line, the worker's traceback."""

    module: str
    name: str
    message: str
    trace: str


@dataclass(frozen=True)
class Outcome:
    """What became of the item at `position`: its result, or why there is none."""

    position: int
    result: Any = None
    failure: Failure | None = None


def attempt(function: Callable[[Any, Any], Any], position: int, item: Any, config: Any) -> Outcome:
    """Run one item where the worker is; anything it raises is returned, a full disk as `DiskFull`."""
    try:
        with disk_full("where the job writes"):
            return Outcome(position, result=function(item, config))
    except Exception as error:
        kind = type(error)
        return Outcome(
            position, failure=Failure(kind.__module__, kind.__qualname__, str(error), traceback.format_exc())
        )


def raise_failure(work: Work, outcome: Outcome) -> NoReturn:
    """Raise a worker's error here: a `ClipmineError` as itself, anything else as `ItemFailed` that names the item."""
    failure = outcome.failure
    assert failure is not None
    item = work.item_name(outcome.position)
    kind = _clipmine_error(failure.module, failure.name)
    if kind is None:
        error: ClipmineError = ItemFailed(f"{work.label}: item {item} failed: {failure.name}: {failure.message}")
    else:
        error = kind.__new__(kind)  # not kind(...): constructors differ, the message is made already
        Exception.__init__(error, failure.message)
    error.add_note(f"in item {item} of {work.label}\n{failure.trace}")
    raise error


def worker_died(work: Work, position: int, how: str) -> Failure:
    """`WorkerDied` as data, for executors that notice it in a worker."""
    message = str(WorkerDied(work.label, work.item_name(position), how))
    return Failure(WorkerDied.__module__, WorkerDied.__qualname__, message, how)


def _clipmine_error(module: str, name: str) -> type[ClipmineError] | None:
    kind = getattr(importlib.import_module(module), name, None)
    return kind if isinstance(kind, type) and issubclass(kind, ClipmineError) else None
