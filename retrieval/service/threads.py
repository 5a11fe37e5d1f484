"""Work off the event loop, to its end even when its request is cancelled; and what is done at the end of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

import anyio

__all__ = ["SMALL", "SWITCH_SECONDS", "all_or_none", "at_the_end", "run_at_the_end", "run_to_end"]

# Rows (or texts) that are handled on the event loop itself: about a millisecond. A thread costs a tenth of that.
SMALL = 500

# How long a thread may hold the interpreter while the event loop waits for it: by default 5 ms, at each of its steps.
SWITCH_SECONDS = 0.0005

_AT_THE_END = "clipmine.at_the_end"

Result = TypeVar("Result")


async def run_to_end(pool: Executor, function: Callable[..., Result], *arguments: Any) -> Result:
    """`function(*arguments)` in a thread of the pool.

    A caller that is cancelled leaves only when the call has ended: until then the call uses what its request has taken
    (see `retrieval.service.admission`). A call that has not begun is dropped.
    """
    call = pool.submit(function, *arguments)
    try:
        return await asyncio.wrap_future(call)
    except asyncio.CancelledError:
        if not call.cancel() and not call.done():
            rest = asyncio.wrap_future(call)
            with anyio.CancelScope(shield=True):
                await asyncio.wait([rest])
            if not rest.cancelled():
                rest.exception()  # else asyncio's log complains that nobody has looked at it
        raise


async def all_or_none(calls: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """The results of all calls. When one fails or the caller is cancelled, those that have not begun are dropped.

    Leaves only when those that have begun have ended, as `run_to_end`.
    """
    if not calls:
        return []
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:  # not `gather`: it leaves when the first call is dropped, and hands on every cancellation
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait(tasks)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
    if errors:
        raise errors[0]
    return [task.result() for task in tasks]


def at_the_end(scope: MutableMapping[str, Any], function: Callable[[], None]) -> None:
    """Have `function` called when the request of this ASGI scope has ended: answered, failed or cancelled."""
    scope.setdefault(_AT_THE_END, []).append(function)


def run_at_the_end(scope: MutableMapping[str, Any]) -> None:
    """Call what `at_the_end` was given."""
    for function in reversed(scope.pop(_AT_THE_END, [])):
        function()
