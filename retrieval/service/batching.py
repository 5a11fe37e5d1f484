"""Requests that come at the same time are answered together: one call of the encoder or of the index for all.

While a call runs in its thread, the next batch gathers; so batches grow with the load and a lone request waits for
nobody. Only when the batches before held more requests does the next one wait, for a small part of what a call takes:
the clients that were just answered come back within it, and a call for the first of them alone would delay all others.
The queue is bounded.
Knows nothing of what is computed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from retrieval.service.backend import Overloaded, Unavailable

__all__ = ["Batcher"]

# The longest wait for company, as a share of the longer of the two calls before: what it can cost at most. Without it,
# 32 clients that send texts fell into batches of 31 and 1 by turns.
WAIT_SHARE = 0.1

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass
class _Waiting(Generic[Request, Answer]):
    request: Request
    size: int
    future: asyncio.Future[Answer]


class Batcher(Generic[Request, Answer]):
    """Calls `function(requests) -> answers` in one thread of its own, for all requests that wait.

    most: the sum of sizes that one call takes (a larger request goes alone). queue: the sum of sizes that may wait.
    wait_ms: the least wait for company; 0 for none.
    observe(requests, size): told of every batch. An exception in place of an answer is raised for that request alone.
    """

    def __init__(
        self,
        what: str,
        function: Callable[[list[Request]], Sequence[Answer | Exception]],
        *,
        most: int,
        queue: int,
        wait_ms: float,
        observe: Callable[[int, int], None] | None = None,
    ) -> None:
        self.what, self._function, self._most, self._queue = what, function, most, queue
        self._wait = wait_ms / 1e3
        self._observe = observe
        self._waiting: deque[_Waiting[Request, Answer]] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=what.replace(" ", "-"))
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._lately: deque[int] = deque([0, 0], maxlen=2)  # requests in the two batches before
        self._took: deque[float] = deque([0.0, 0.0], maxlen=2)  # seconds, the two calls before

    @property
    def waiting(self) -> int:
        """The sum of sizes that wait now."""
        return self._size

    async def submit(self, request: Request, size: int = 1) -> Answer:
        """Wait for the answer. Raises Overloaded when the queue is full, Unavailable when the batcher is closed."""
        if self._closed:
            raise Unavailable(f"{self.what}: the service is stopping")
        if self._size and self._size + size > self._queue:
            raise Overloaded(self.what)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(request, size, future))
        self._size += size
        self._arrived.set()
        return await future

    async def close(self) -> None:
        """Answer what waits, then stop."""
        self._closed = True
        self._arrived.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._waiting:
                if self._closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            await self._wait_for_company()
            batch = self._take()
            if not batch:
                continue
            self._lately.append(len(batch))
            if self._observe is not None:
                self._observe(len(batch), sum(waiting.size for waiting in batch))
            requests = [waiting.request for waiting in batch]
            began = loop.time()
            try:
                answers: Sequence[Answer | Exception] = await loop.run_in_executor(
                    self._thread, self._function, requests
                )
            except Exception as error:
                answers = [error] * len(batch)
            self._took.append(loop.time() - began)
            for waiting, answer in zip(batch, answers, strict=True):
                _give(waiting.future, answer)

    async def _wait_for_company(self) -> None:
        """Wait until as many requests are there as were lately, or not much longer than the wait allows."""
        loop = asyncio.get_running_loop()
        end = loop.time() + max(self._wait, WAIT_SHARE * max(self._took))
        while self._wait and not self._closed and len(self._waiting) < max(self._lately):
            left = end - loop.time()
            if left <= 0:
                return
            await asyncio.sleep(min(left, self._wait))

    def _take(self) -> list[_Waiting[Request, Answer]]:
        batch: list[_Waiting[Request, Answer]] = []
        size = 0
        while self._waiting and (not batch or size + self._waiting[0].size <= self._most):
            waiting = self._waiting.popleft()
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
