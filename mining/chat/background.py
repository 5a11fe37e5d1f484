"""Requests that are answered by coroutines in a thread of their own, while the caller reads replies as they come.

The caller's iterator is only read in the caller's thread, and only so far ahead as `ahead` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

__all__ = ["answered_in_background"]

Asked = TypeVar("Asked")
Replied = TypeVar("Replied")
Answer = Callable[[Asked], Awaitable[Replied]]


def answered_in_background(
    requests: Iterable[tuple[str, Asked]],
    opened: Callable[[], AbstractAsyncContextManager[Answer[Asked, Replied]]],
    ahead: Callable[[], int],
) -> Iterator[tuple[str, Replied]]:
    """Yield (key, reply) for each (key, request), as replies come.

    opened: gives, within the thread's event loop, the coroutine function that answers a request. ahead: how many
    requests may be taken that are not answered yet, asked again before each. An exception of an answer is raised here;
    that, or leaving the iterator early, cancels all other requests.
    """
    replies: queue.SimpleQueue[tuple[str, Replied | BaseException]] = queue.SimpleQueue()
    waiting, iterator, ended = 0, iter(requests), False
    with _Loop(opened, replies) as loop:
        while True:
            while not ended and waiting < max(1, ahead()):
                try:
                    key, request = next(iterator)
                except StopIteration:
                    ended = True
                else:
                    loop.ask(key, request)
                    waiting += 1
                if not replies.empty():
                    break
            if not waiting:
                return
            key, reply = replies.get()
            waiting -= 1
            if isinstance(reply, BaseException):
                raise reply
            yield key, reply


class _Loop(contextlib.AbstractContextManager["_Loop"]):
    """An event loop in a thread, and the tasks that run in it."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Answer[Any, Any]]], replies: Any) -> None:
        self._opened, self._replies = opened, replies
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat requests", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> _Loop:
        self._thread.start()
        self._context = self._opened()
        try:
            self._answer = self._in_loop(self._context.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._in_loop(self._cancel())
            self._in_loop(self._context.__aexit__(None, None, None))
        finally:
            self._stop()

    def ask(self, key: str, request: Any) -> None:
        self._loop.call_soon_threadsafe(self._begin, key, request)

    def _begin(self, key: str, request: Any) -> None:
        task = self._loop.create_task(self._run(key, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, key: str, request: Any) -> None:
        try:
            self._replies.put((key, await self._answer(request)))
        except Exception as error:
            self._replies.put((key, error))

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _in_loop(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
