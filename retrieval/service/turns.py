"""Turns: of what waits, each client's next item in turn, so that nobody waits behind all that another one has sent.

    turns.add("token 1", item)      twenty times by one client, once by another:
    turns.next()                    the other's item is the second

`FairPool` is an executor whose threads take their calls in turns.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Generic, ParamSpec, TypeVar

from retrieval.service.admission import CLIENT

__all__ = ["FairPool", "Turns"]

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Turns(Generic[Item]):
    """Waiting items by client, taken in turns; those of one client in the order in which they came."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[Item]] = OrderedDict()  # the client whose turn it is comes first
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, client: str, item: Item) -> None:
        """Append an item to its client's line."""
        self._lines.setdefault(client, deque()).append(item)
        self._count += 1

    def first(self) -> Item:
        """The item whose turn it is; it stays. IndexError where nothing waits."""
        if not self._count:
            raise IndexError("nothing waits")
        return next(iter(self._lines.values()))[0]

    def next(self) -> Item:
        """Take the item whose turn it is. IndexError where nothing waits."""
        if not self._count:
            raise IndexError("nothing waits")
        client, line = self._lines.popitem(last=False)
        item = line.popleft()
        if line:
            self._lines[client] = line  # at the end: the others come first
        self._count -= 1
        return item

    def longest(self) -> tuple[str, int]:
        """The client with most items, and their number. ValueError where nothing waits."""
        client = max(self._lines, key=lambda one: len(self._lines[one]))
        return client, len(self._lines[client])

    def count(self, client: str) -> int:
        """The number of a client's items."""
        return len(self._lines.get(client, ()))

    def drop_last(self, client: str) -> Item:
        """Take the item of a client that came last. KeyError where it has none."""
        line = self._lines[client]
        item = line.pop()
        if not line:
            del self._lines[client]
        self._count -= 1
        return item


class FairPool(Executor):
    """Threads that take the calls of all clients in turns. The client is that of the request that submits.

    A call cannot be interrupted, so long work belongs in several calls.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._turns: Turns[tuple[Future[Any], Callable[[], Any]]] = Turns()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        self._started = False

    def submit(
        self, function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Result]:
        """Have `function(*args, **kwargs)` called. RuntimeError after `shutdown`."""
        future: Future[Result] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the threads have been stopped")
            if not self._started:
                self._started = True
                for thread in self._threads:
                    thread.start()
            self._turns.add(CLIENT.get(), (future, lambda: function(*args, **kwargs)))
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the threads after what waits has been done (or dropped, with `cancel_futures`)."""
        with self._changed:
            self._closed = True
            while cancel_futures and len(self._turns):
                self._turns.next()[0].cancel()
            self._changed.notify_all()
        if wait and self._started:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not len(self._turns):
                    if self._closed:
                        return
                    self._changed.wait()
                future, call = self._turns.next()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            del future, call  # else the last call's arguments stay in memory until the next one comes
