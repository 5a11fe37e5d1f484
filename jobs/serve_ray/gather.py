"""Batches queries: those that arrive while a call to the shards is running are sent together in the next call.

A single query is sent at once. Imports no Ray: a batch is passed to a coroutine.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from retrieval.service.backend import Found, Overloaded

__all__ = ["Gathering"]

Vectors = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class _Waiting:
    batch_key: Hashable  # queries with equal keys may share a call
    vectors: Vectors
    future: asyncio.Future[Found]


class Gathering:
    """Calls `ask(batch_key, vectors [q, d])` for queries with the same key together; at most `calls` calls run at once.

    what: named in `Overloaded`. most: vectors of one call; a larger request goes alone. queue: vectors that may wait.
    """

    def __init__(
        self, what: str, ask: Callable[[Any, Vectors], Awaitable[Found]], *, most: int, queue: int, calls: int
    ) -> None:
        self.what, self._ask, self._most, self._queue, self._free = what, ask, most, queue, calls
        self._waiting: deque[_Waiting] = deque()
        self._size = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, batch_key: Hashable, vectors: Vectors) -> Found:
        """The answer for these vectors. Raises Overloaded when the queue is full, and what `ask` raises."""
        if self._size and self._size + len(vectors) > self._queue:
            raise Overloaded(self.what)
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(batch_key, vectors, future))
        self._size += len(vectors)
        self._start()
        return await future

    async def close(self) -> None:
        """Wait until everything that was submitted has been answered."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _start(self) -> None:
        while self._free and (batch := self._take()):
            self._free -= 1
            # In a context of its own: when a client disconnects, Serve cancels the calls made in its request's context,
            # and these calls serve other clients as well.
            task = asyncio.get_running_loop().create_task(self._run(batch), context=contextvars.Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, batch: list[_Waiting]) -> None:
        try:
            found = await self._ask(batch[0].batch_key, np.concatenate([waiting.vectors for waiting in batch]))
        except Exception as error:
            for waiting in batch:
                if not waiting.future.done():
                    waiting.future.set_exception(error)
        else:
            start = 0
            for waiting in batch:
                end = start + len(waiting.vectors)
                if not waiting.future.done():
                    part = Found(found.scores[start:end], found.row_ids[start:end], found.plan, found.missing)
                    waiting.future.set_result(part)
                start = end
        finally:
            self._free += 1
            self._start()

    def _take(self) -> list[_Waiting]:
        """The next batch: the first waiting query and those with its key, in order of arrival."""
        batch: list[_Waiting] = []
        others: deque[_Waiting] = deque()
        size = 0
        while self._waiting:
            waiting = self._waiting.popleft()
            if waiting.future.done():  # its client has disconnected
                self._size -= len(waiting.vectors)
            elif not batch or (waiting.batch_key == batch[0].batch_key and size + len(waiting.vectors) <= self._most):
                batch.append(waiting)
                size += len(waiting.vectors)
                self._size -= len(waiting.vectors)
            else:
                others.append(waiting)
        self._waiting = others
        return batch
