"""Attempts at work items: what is sent to a worker and back, and how often an item is tried whose worker dies.

A `Work` is a function and its items; each attempt at an item gives an `Outcome`. Errors come back as data,
not as pickled exceptions, so that an error reads the same from all three executors.
"""

from __future__ import annotations

import importlib
import os
import socket
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from index.errors import ClipmineError, ModelMissing
from index.files import disk_full
from index.remote import VARIABLES

# The packages that a worker on another machine must be able to import.
ROOT_PACKAGES = ("index", "retrieval", "customize", "mining", "jobs", "scenes")

# Whether each worker gets its own GPU: where there are any, or only then.
Gpu = bool | Literal["required"]

# Attempts at an item whose worker dies: retry twice; a third death is probably the item's fault.
ATTEMPTS = 3


class ItemFailed(ClipmineError):
    """An item's function raised an error that is not a ClipmineError; the worker's traceback is in the notes."""


class WorkerDied(ClipmineError):
    """The worker of an item was killed (most often for lack of memory) in every attempt."""

    def __init__(self, label: str, item: str, how: str) -> None:
        super().__init__(
            f"{label}: the worker of item {item} died {ATTEMPTS} times ({how}); "
            "if memory ran out, use fewer --workers or smaller shards, and run the same command again"
        )


@dataclass(frozen=True)
class Work:
    """A map to run: `function(item, config)` for every item; function importable, items and config plain data.

    environment: the settings of remote storage that this process has. Workers on other machines get them with the work,
    and not as settings of the cluster, which its pages and logs show.
    """

    label: str
    function: Callable[[Any, Any], Any]
    items: Sequence[Any]
    config: Any
    environment: Mapping[str, str] = field(default_factory=lambda: storage_settings(), repr=False)

    def item_name(self, position: int) -> str:
        """The item's name in messages: its `name` or `number`, else its position."""
        item = self.items[position]
        name = getattr(item, "name", None)
        return str(name if name is not None else getattr(item, "number", position))


@dataclass(frozen=True)
class Failure:
    """An exception as data: its class's module and name, its message, and the worker's traceback."""

    module: str
    name: str
    message: str
    trace: str


@dataclass(frozen=True)
class Outcome:
    """The result of the item at `position`, or its failure."""

    position: int
    result: Any = None
    failure: Failure | None = None


def storage_settings() -> dict[str, str]:
    """The environment variables of this process that name remote storage and give access to it."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def attempt(
    function: Callable[[Any, Any], Any],
    position: int,
    item: Any,
    config: Any,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run one item in this process; an exception is returned as a `Failure`, a full disk as `DiskFull`.

    environment: variables that are set here before; given where this may be another machine than the command's.
    """
    try:
        os.environ.update(environment or {})
        with disk_full("where the job writes"):
            return Outcome(position, result=function(item, config))
    except Exception as error:
        kind, message = type(error), str(error)
        if isinstance(error, ModelMissing) and environment is not None:
            message = f"the worker on {socket.gethostname()} lacks a model: {message}; {error.for_workers}"
        return Outcome(position, failure=Failure(kind.__module__, kind.__qualname__, message, traceback.format_exc()))


def raise_failure(work: Work, outcome: Outcome) -> NoReturn:
    """Raise a worker's error here: a `ClipmineError` as itself, anything else as `ItemFailed` that names the item."""
    failure = outcome.failure
    assert failure is not None
    item = work.item_name(outcome.position)
    kind = _clipmine_error(failure.module, failure.name)
    if kind is None:
        error: ClipmineError = ItemFailed(f"{work.label}: item {item} failed: {failure.name}: {failure.message}")
    else:
        error = kind.__new__(kind)  # not kind(...): constructors take other arguments than the finished message
        Exception.__init__(error, failure.message)
    error.add_note(f"in item {item} of {work.label}\n{failure.trace}")
    raise error


def worker_died(work: Work, position: int, how: str) -> Failure:
    """`WorkerDied` as data, for executors that detect it in a worker."""
    message = str(WorkerDied(work.label, work.item_name(position), how))
    return Failure(WorkerDied.__module__, WorkerDied.__qualname__, message, how)


def _clipmine_error(module: str, name: str) -> type[ClipmineError] | None:
    kind = getattr(importlib.import_module(module), name, None)
    return kind if isinstance(kind, type) and issubclass(kind, ClipmineError) else None
