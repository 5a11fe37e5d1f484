"""Reading ahead: a thread prepares the next items while the caller works on the current one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["read_ahead"]

T = TypeVar("T")


def read_ahead(items: Iterable[T], ahead: int) -> Generator[T, None, None]:
    """Yield `items` in order, while a thread of their own prepares up to `ahead` of them beforehand.

    What `items` raises is raised here. Closing this generator ends the thread, and closes `items` if it is a generator.
    """
    ready: queue.Queue[T | _End] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def run() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if stop.is_set():
                    break
                ready.put(item)
        except BaseException as raised:
            error = raised
        finally:
            if isinstance(items, Generator):
                items.close()
            ready.put(_End(error))

    thread = threading.Thread(target=run, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            entry = ready.get()
            if isinstance(entry, _End):
                if entry.error is not None:
                    raise entry.error
                return
            yield entry
    finally:
        stop.set()
        while thread.is_alive():  # it may be waiting for a free place in the queue
            with suppress(queue.Empty):
                ready.get(timeout=0.05)


@dataclass(frozen=True)
class _End:
    """Marks the end of the items, with the error that ended them."""

    error: BaseException | None
