"""Work off the event loop, to its end even when its request is cancelled; and what is done at the end of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from concurrent.futures import Executor
from typing import Any, TypeVar

import anyio

__all__ = ["SMALL", "at_the_end", "run_at_the_end", "run_to_end"]

# Rows (or texts) that are handled on the event loop itself: about a millisecond. A thread costs a tenth of that.
SMALL = 500

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
            with anyio.CancelScope(shield=True):
                await asyncio.wait([asyncio.wrap_future(call)])
        raise


def at_the_end(scope: MutableMapping[str, Any], function: Callable[[], None]) -> None:
    """Have `function` called when the request of this ASGI scope has ended: answered, failed or cancelled."""
    scope.setdefault(_AT_THE_END, []).append(function)


def run_at_the_end(scope: MutableMapping[str, Any]) -> None:
    """Call what `at_the_end` was given."""
    for function in reversed(scope.pop(_AT_THE_END, [])):
        function()
