"""Batching: requests that arrive at about the same time are answered by one call of the encoder or of the index.

While a call runs in its thread, the next batch collects, so batches grow with the load and a single request is sent at
once. Only when the last two batches held more requests than are waiting does the next call wait, for a small share of a
call's duration: clients that were just answered ask again within that time, and a call for the first of them alone
would delay all the others. The queue is bounded.

A batch takes one request of each client in turn, and is so small that its call takes about `CALL_SECONDS`: a client
that sends thousands of texts delays another's single text by that much and not by all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from retrieval.service.admission import CLIENT
from retrieval.service.backend import Overloaded, Unavailable
from retrieval.service.settings import Settings
from retrieval.service.turns import Turns

__all__ = ["Batcher", "batch_queue"]

# The longest wait for further requests, as a share of the longer of the last two calls. Without it, the texts of 32
# clients were answered in alternating batches of 31 and 1.
WAIT_SHARE = 0.1

# What a call should take at most, where the sizes of the last calls let one tell.
CALL_SECONDS = 0.05
LEAST = 8  # of a batch, however slow the calls are: below it, texts of a slow model gain nothing from a smaller batch

MOST_CALLS = 4  # of the function's own, that one batch leads to

LIST_SHARE = 256  # texts or vectors that a concept list submits at once

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass
class _Waiting(Generic[Request, Answer]):
    request: Request
    size: int
    future: asyncio.Future[Answer]


class Batcher(Generic[Request, Answer]):
    """Calls `function(requests) -> answers` in one thread of its own, with all requests that wait.

    what: a name for messages. most: the largest sum of sizes in one call (a larger request goes alone). call_seconds:
    what a call should take at most, where larger ones take longer; None: calls of any size take the same. queue: the
    largest sum of sizes that may wait. wait_ms: the shortest wait for further requests; 0: none.
    call_of: what requests have in common that the function answers together; others cost it a call each.
    observe(requests, size): called for every batch. An answer that is an exception is raised for its request alone.
    """

    def __init__(
        self,
        what: str,
        function: Callable[[list[Request]], Sequence[Answer | Exception]],
        *,
        most: int,
        queue: int,
        wait_ms: float,
        call_seconds: float | None = CALL_SECONDS,
        call_of: Callable[[Request], Hashable] = lambda _: None,
        observe: Callable[[int, int], None] | None = None,
    ) -> None:
        self._call_of = call_of
        self._call_seconds = call_seconds
        self.what, self._function, self._most, self._queue = what, function, most, queue
        self._wait = wait_ms / 1e3
        self._observe = observe
        self._waiting: Turns[_Waiting[Request, Answer]] = Turns()
        self._size = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=what.replace(" ", "-"))
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._began: float | None = None  # when the running call began
        self._last_counts: deque[int] = deque([0, 0], maxlen=2)  # requests in the last two batches
        self._last_seconds: deque[float] = deque([0.0, 0.0], maxlen=2)  # seconds of the last two calls
        self._seconds_each = 0.0  # of a call, by its size: an average in which later calls count more

    @property
    def running_seconds(self) -> float:
        """How long the running call has been running; 0 when none is."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    @property
    def waiting(self) -> int:
        """The sum of the sizes of waiting requests."""
        return self._size

    @property
    def size_now(self) -> int:
        """The sum of sizes that one call takes at present, at most: so that it takes about `call_seconds`."""
        if not self._seconds_each or self._call_seconds is None:
            return self._most
        return min(self._most, max(LEAST, int(self._call_seconds / self._seconds_each)))

    async def submit(self, request: Request, size: int = 1) -> Answer:
        """Wait for the answer. Raises Overloaded when the queue is full, Unavailable when the batcher is closed."""
        if self._closed:
            raise Unavailable(f"{self.what}: the service is stopping")
        if self._size and self._size + size > self._queue:
            raise Overloaded(self.what)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.add(CLIENT.get(), _Waiting(request, size, future))
        self._size += size
        self._arrived.set()
        return await future

    async def close(self) -> None:
        """Answer the waiting requests, then stop."""
        self._closed = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not len(self._waiting):
                if self._closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            await self._wait_for_more()
            batch = self._take()
            if not batch:
                continue
            size = sum(waiting.size for waiting in batch)
            self._last_counts.append(len(batch))
            if self._observe is not None:
                self._observe(len(batch), size)
            requests = [waiting.request for waiting in batch]
            began = self._began = time.monotonic()
            try:
                answers: Sequence[Answer | Exception] = await loop.run_in_executor(
                    self._thread, self._function, requests
                )
            except Exception as error:
                answers = [error] * len(batch)
            self._began = None
            seconds = time.monotonic() - began
            self._last_seconds.append(seconds)
            if size >= LEAST:  # a smaller call takes about as long as one of this size
                each = seconds / size
                self._seconds_each = each if not self._seconds_each else 0.7 * self._seconds_each + 0.3 * each
            for waiting, answer in zip(batch, answers, strict=True):
                _give(waiting.future, answer)

    async def _wait_for_more(self) -> None:
        """Wait until as many requests are there as in the larger of the last two batches, or until the time is up."""
        loop = asyncio.get_running_loop()
        end = loop.time() + max(self._wait, WAIT_SHARE * max(self._last_seconds))
        while self._wait and not self._closed and len(self._waiting) < max(self._last_counts):
            left = end - loop.time()
            if left <= 0:
                return
            await asyncio.sleep(min(left, self._wait))

    def _take(self) -> list[_Waiting[Request, Answer]]:
        batch: list[_Waiting[Request, Answer]] = []
        size, most = 0, self.size_now
        calls: set[Hashable] = set()
        while len(self._waiting):
            first = self._waiting.first()
            call = self._call_of(first.request)
            if batch and (size + first.size > most or (call not in calls and len(calls) == MOST_CALLS)):
                break
            calls.add(call)
            waiting = self._waiting.next()
            self._size -= waiting.size
            if not waiting.future.cancelled():  # its client has gone
                batch.append(waiting)
                size += waiting.size
        return batch


def _give(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def batch_queue(settings: Settings) -> int:
    """The size of a queue in which everything fits that the service has admitted (`retrieval.service.admission`)."""
    return settings.queue + settings.concept_jobs * LIST_SHARE
