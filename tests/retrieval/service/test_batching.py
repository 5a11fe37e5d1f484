from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest

from index.store.embedding_store import EmbeddingStore
from retrieval.service.backend import Overloaded, Unavailable
from retrieval.service.batching import Batcher
from retrieval.service.settings import Settings
from tests.serving import Serve


class Doubling:
    """A function to batch: doubles numbers, notes its calls, and waits in each until it may go on."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.entered, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, requests: list[int]) -> list[int | Exception]:
        self.calls.append(requests)
        self.entered.set()
        assert self.may_go_on.wait(20)
        return [ValueError("no 13") if number == 13 else 2 * number for number in requests]


async def during_a_call(batcher: Batcher[int, int], double: Doubling, *others: Coroutine[Any, Any, int]) -> list[Any]:
    """Submit 0, and `others` while it is being answered; the answers or exceptions of the others."""
    first = asyncio.create_task(batcher.submit(0))
    await asyncio.to_thread(double.entered.wait, 20)
    tasks = [asyncio.create_task(other) for other in others]
    await asyncio.sleep(0)  # all are submitted
    double.may_go_on.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert await first == 0
    await batcher.close()
    return answers


def test_requests_that_arrive_during_a_call_are_answered_by_the_next_one() -> None:
    async def run() -> None:
        double, seen = Doubling(), list[tuple[int, int]]()
        batcher = Batcher("numbers", double, most=10, queue=100, wait_ms=0, observe=lambda *batch: seen.append(batch))
        answers = await during_a_call(batcher, double, *(batcher.submit(number, 2) for number in (1, 2, 3)))
        assert answers == [2, 4, 6]
        assert double.calls == [[0], [1, 2, 3]]
        assert seen == [(1, 1), (3, 6)]

    asyncio.run(run())


def test_a_batch_has_at_most_its_size_and_a_larger_request_goes_alone() -> None:
    async def run() -> None:
        double = Doubling()
        batcher = Batcher("numbers", double, most=4, queue=100, wait_ms=0)
        sizes = [(1, 2), (2, 2), (3, 1), (4, 9), (5, 1)]
        await during_a_call(batcher, double, *(batcher.submit(number, size) for number, size in sizes))
        assert double.calls == [[0], [1, 2], [3], [4], [5]]

    asyncio.run(run())


def test_a_batch_leads_to_few_calls() -> None:
    async def run() -> None:
        double = Doubling()
        batcher = Batcher("numbers", double, most=100, queue=100, wait_ms=0, call_of=lambda number: number // 10)
        numbers = [1, 2, 11, 21, 12, 31, 41, 42, 51]
        assert await during_a_call(batcher, double, *map(batcher.submit, numbers)) == [2 * each for each in numbers]
        assert double.calls == [[0], [1, 2, 11, 21, 12, 31], [41, 42, 51]]

    asyncio.run(run())


def test_an_exception_among_the_answers_is_raised_for_its_request_alone() -> None:
    async def run() -> None:
        double = Doubling()
        batcher = Batcher("numbers", double, most=10, queue=100, wait_ms=0)
        good, bad = await during_a_call(batcher, double, batcher.submit(1), batcher.submit(13))
        assert good == 2
        assert isinstance(bad, ValueError)

    asyncio.run(run())


def test_beyond_the_queue_a_request_is_refused_and_a_closed_batcher_refuses_all() -> None:
    async def run() -> None:
        double = Doubling()
        batcher = Batcher("numbers", double, most=10, queue=3, wait_ms=0)
        two, three, refused = await during_a_call(
            batcher, double, batcher.submit(2, 2), batcher.submit(3, 1), batcher.submit(4, 1)
        )
        assert (two, three) == (4, 6)
        assert isinstance(refused, Overloaded)
        with pytest.raises(Unavailable, match="is stopping"):
            await batcher.submit(1)

    asyncio.run(run())


def test_a_request_whose_client_has_gone_is_not_computed() -> None:
    async def run() -> None:
        double = Doubling()
        batcher = Batcher("numbers", double, most=10, queue=100, wait_ms=0)
        first = asyncio.create_task(batcher.submit(0))
        await asyncio.to_thread(double.entered.wait, 20)
        gone, stays = (asyncio.create_task(batcher.submit(number)) for number in (1, 2))
        await asyncio.sleep(0)
        gone.cancel()
        double.may_go_on.set()
        assert (await first, await stays) == (0, 4)
        assert double.calls == [[0], [2]]
        assert batcher.waiting == 0
        await batcher.close()

    asyncio.run(run())


def test_a_full_queue_is_429_and_what_was_taken_is_answered(served_store: EmbeddingStore, serve: Serve) -> None:
    body = {"queries": [{"text": f"thing {number} " * 8} for number in range(200)], "k": 1}
    statuses: list[int] = []
    with serve(served_store, Settings(queue=200)) as url:

        def ask() -> None:
            answer = httpx.post(f"{url}/search", json=body, timeout=60)
            statuses.append(answer.status_code)
            assert answer.status_code == 200 or int(answer.headers["Retry-After"]) >= 1

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(statuses) == {200, 429}
    assert len(statuses) == 16
