from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from retrieval.service.threads import at_the_end, run_at_the_end, run_to_end


def test_a_cancelled_caller_leaves_when_its_call_has_ended() -> None:
    entered, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        assert may_end.wait(20)
        ended.set()

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            caller = asyncio.create_task(run_to_end(pool, work))
            await asyncio.to_thread(entered.wait, 20)
            caller.cancel()
            await asyncio.sleep(0.05)
            assert not caller.done(), "its work still runs"
            may_end.set()
            with pytest.raises(asyncio.CancelledError):
                await caller
            assert ended.is_set()

    asyncio.run(run())


def test_a_call_that_has_not_begun_is_dropped_with_its_caller() -> None:
    entered, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def first() -> str:
        entered.set()
        assert may_end.wait(20)
        return "first"

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            runs = asyncio.create_task(run_to_end(pool, first))
            await asyncio.to_thread(entered.wait, 20)
            waits = asyncio.create_task(run_to_end(pool, done.append, "second"))
            await asyncio.sleep(0)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            may_end.set()
            assert await runs == "first"
        assert done == []

    asyncio.run(run())


def test_errors_and_results_come_from_the_thread() -> None:
    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            assert await run_to_end(pool, max, 3, 5) == 5
            with pytest.raises(ZeroDivisionError):
                await run_to_end(pool, divmod, 1, 0)

    asyncio.run(run())


def test_what_is_to_be_done_at_the_end_of_a_request_is_done_once() -> None:
    scope: dict[str, Any] = {}
    done: list[str] = []
    at_the_end(scope, lambda: done.append("first taken"))
    at_the_end(scope, lambda: done.append("last taken"))
    run_at_the_end(scope)
    run_at_the_end(scope)
    assert done == ["last taken", "first taken"]
