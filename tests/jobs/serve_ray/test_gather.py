from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from jobs.serve_ray.gather import Gathering
from retrieval.service.backend import Found, Overloaded, Unavailable


class Searches:
    """A search that says which calls it got, and that waits until it may answer."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []
        self.may_answer = asyncio.Event()

    async def ask(self, batch_key: str, vectors: Any) -> Found:
        self.calls.append((batch_key, vectors[:, 0].astype(int).tolist()))
        await self.may_answer.wait()
        if batch_key == "broken":
            raise Unavailable("no shard answers")
        return Found(vectors.copy(), vectors.astype(np.int64), "exact", ("shards-1",))


def query(*numbers: int) -> Any:
    return np.array(numbers, np.float32)[:, None]


async def submit_all(gathering: Gathering, searches: Searches, asked: list[tuple[str, Any]]) -> list[Any]:
    tasks = [asyncio.create_task(gathering.submit(batch_key, vectors)) for batch_key, vectors in asked]
    await asyncio.sleep(0)  # all have been submitted
    searches.may_answer.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    await gathering.close()
    return answers


def test_while_a_call_is_under_way_queries_of_one_batch_key_gather_for_the_next() -> None:
    async def run() -> None:
        searches = Searches()
        gathering = Gathering("the search", searches.ask, most=3, queue=100, calls=1)
        asked = [("a", query(1)), ("a", query(2, 3)), ("b", query(4)), ("a", query(5)), ("a", query(6))]
        answers = await submit_all(gathering, searches, asked)
        assert searches.calls == [("a", [1]), ("a", [2, 3, 5]), ("b", [4]), ("a", [6])]
        assert [answer.row_ids[:, 0].tolist() for answer in answers] == [[1], [2, 3], [4], [5], [6]]
        assert all(answer.missing == ("shards-1",) for answer in answers)

    asyncio.run(run())


def test_a_larger_request_than_a_call_takes_goes_alone() -> None:
    async def run() -> None:
        searches = Searches()
        gathering = Gathering("the search", searches.ask, most=2, queue=100, calls=4)
        await submit_all(gathering, searches, [("a", query(1, 2, 3))])
        assert searches.calls == [("a", [1, 2, 3])]

    asyncio.run(run())


def test_beyond_the_queue_a_request_is_refused_and_the_others_are_answered() -> None:
    async def run() -> None:
        searches = Searches()
        gathering = Gathering("the search", searches.ask, most=8, queue=3, calls=1)
        asked = [("a", query(1)), ("a", query(2, 3)), ("a", query(4, 5)), ("a", query(6))]
        answers = await submit_all(gathering, searches, asked)
        assert [isinstance(answer, Overloaded) for answer in answers] == [False, False, True, False]

    asyncio.run(run())


def test_an_error_reaches_each_request_of_its_call_and_no_other() -> None:
    async def run() -> None:
        searches = Searches()
        gathering = Gathering("the search", searches.ask, most=8, queue=100, calls=1)
        asked = [("a", query(1)), ("broken", query(2)), ("broken", query(3)), ("a", query(4))]
        answers = await submit_all(gathering, searches, asked)
        assert [isinstance(answer, Unavailable) for answer in answers] == [False, True, True, False]

    asyncio.run(run())


def test_a_cancelled_request_is_skipped_and_delays_no_other() -> None:
    async def run() -> None:
        searches = Searches()
        gathering = Gathering("the search", searches.ask, most=8, queue=2, calls=1)
        first = asyncio.create_task(gathering.submit("a", query(1)))
        gone = asyncio.create_task(gathering.submit("a", query(2, 3)))
        await asyncio.sleep(0)
        gone.cancel()
        searches.may_answer.set()
        await first
        await gathering.submit("a", query(4))
        assert searches.calls == [("a", [1]), ("a", [4])]

    asyncio.run(run())


@pytest.mark.parametrize("calls", [1, 4])
def test_a_single_query_is_sent_at_once(calls: int) -> None:
    async def run() -> None:
        searches = Searches()
        searches.may_answer.set()
        gathering = Gathering("the search", searches.ask, most=8, queue=100, calls=calls)
        assert (await gathering.submit("a", query(7))).row_ids.tolist() == [[7]]

    asyncio.run(run())
