"""Asking a group of shards: deadlines, second tries, and groups that are down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError

from jobs.serve_ray.ask import GroupClient, first_line
from jobs.serve_ray.groups import Group, Part
from jobs.serve_ray.replicas import Refusal
from retrieval.service.backend import Overloaded

ANSWER = (np.ones((1, 2), np.float32), np.zeros((1, 2), np.int64))
GROUP = Group(0, "f00d", {"image": Part(0, 5)})


class Method:
    """A deployment handle's method: each call does what the next of `turns` says, the last one for ever."""

    def __init__(self, *turns: Callable[[], Awaitable[Any]]) -> None:
        self.turns, self.calls = list(turns), 0

    def remote(self, *question: Any) -> Awaitable[Any]:
        self.calls += 1
        turn = self.turns[min(self.calls, len(self.turns)) - 1]
        return turn()


class Handle:
    """A handle whose replicas answer pings as long as `up` is true."""

    def __init__(self, search: Method, up: bool = True) -> None:
        self.search, self.up = search, up
        self.ping = Method(self._ping)

    async def _ping(self) -> int:
        if not self.up:
            raise RayError("dead")
        return 1


async def answers() -> Any:
    return *ANSWER, "one replica"


async def another_answers() -> Any:
    return *ANSWER, "another replica"


async def hangs() -> Any:
    await asyncio.sleep(3600)


async def dies() -> Any:
    raise RayError("the actor died")


async def is_full() -> Any:
    raise BackPressureError(num_queued_requests=1, max_queued_requests=1)


async def refuses() -> Any:
    return Refusal("ValueError", "cannot search")


def ask(handle: Any, replicas: int = 1, seconds: float = 5.0, times: int = 1) -> list[Any]:
    """The group's answers to `times` questions, each with so many seconds."""

    async def run() -> list[Any]:
        group = GroupClient(GROUP, handle, replicas)
        found = [await group.ask(("question",), time.monotonic() + seconds) for _ in range(times)]
        group.close()
        return found

    return asyncio.run(run())


def test_an_answer_in_time_is_returned() -> None:
    handle = Handle(Method(answers))
    assert ask(handle) == [ANSWER]
    assert handle.search.calls == 1


@pytest.mark.parametrize("first", [dies, refuses], ids=["died", "refused"])
def test_a_lost_request_is_tried_once_more(first: Callable[[], Awaitable[Any]]) -> None:
    handle = Handle(Method(first, answers))
    assert ask(handle) == [ANSWER]
    assert handle.search.calls == 2


def test_two_failures_are_no_answer() -> None:
    handle = Handle(Method(dies))
    assert ask(handle) == [None]
    assert handle.search.calls == 2


def test_a_slow_replica_leaves_time_for_another_one() -> None:
    handle = Handle(Method(hangs, answers))
    assert ask(handle, replicas=2, seconds=0.4) == [ANSWER]


@pytest.mark.parametrize(
    ("first", "calls"), [([answers, answers], 3), ([answers, another_answers], 4)], ids=["one", "two"]
)
def test_where_the_number_of_replicas_changes_a_second_try_needs_two_that_answered(
    first: list[Callable[[], Awaitable[Any]]], calls: int
) -> None:
    """The third question is answered too late by one replica, in time by two."""

    async def slow() -> Any:
        await asyncio.sleep(0.3)
        return await answers()

    async def run() -> None:
        handle: Any = Handle(Method(*first, slow, answers))
        group = GroupClient(GROUP, handle, 1, 4)
        for _ in range(2):
            assert await group.ask(("question",), time.monotonic() + 5) is not None
        assert (await group.ask(("question",), time.monotonic() + 0.2) is None) is (calls == 3)
        group.close()
        assert handle.search.calls == calls

    asyncio.run(run())


def test_replicas_that_answered_long_ago_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.serve_ray.ask.SEEN_SECONDS", 0.0)

    async def run() -> None:
        handle: Any = Handle(Method(answers, another_answers, hangs, answers))
        group = GroupClient(GROUP, handle, 1, 4)
        answered = [await group.ask(("question",), time.monotonic() + 0.2) for _ in range(3)]
        group.close()
        assert answered[2] is None

    asyncio.run(run())


def test_a_single_replica_that_is_too_slow_is_not_asked_again_until_it_answers_a_ping() -> None:
    handle = Handle(Method(hangs, answers), up=False)
    assert ask(handle, seconds=0.1, times=3) == [None, None, None]
    assert handle.search.calls == 1  # skipped while it is down

    async def recovers() -> Any:
        again: Any = Handle(Method(hangs, answers))
        group = GroupClient(GROUP, again, 1)
        assert await group.ask(("question",), time.monotonic() + 0.1) is None
        found = await group.ask(("question",), time.monotonic() + 30)
        group.close()
        return found

    assert asyncio.run(recovers()) == ANSWER


def test_a_full_queue_is_said_and_not_tried_again() -> None:
    handle = Handle(Method(is_full))
    with pytest.raises(Overloaded):
        ask(handle)
    assert handle.search.calls == 1


async def opens() -> Any:
    return "one replica"


async def another_opens() -> Any:
    return "another replica"


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([opens, another_opens], None),
        ([opens, refuses], "cannot search"),
        ([dies], "shards-0 does not answer: the actor died"),
        ([hangs, opens], "shards-0 has not opened it yet"),
    ],
    ids=["opens", "one refuses", "dies", "slow"],
)
def test_all_replicas_open_a_generation_or_it_is_said_why_not(
    turns: list[Callable[[], Awaitable[Any]]], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.serve_ray.ask.OPEN_SECONDS", 0.05)
    handle: Any = Handle(Method(answers))
    handle.open = Method(*turns)
    assert asyncio.run(GroupClient(GROUP, handle, 2).open()) == said
    assert handle.open.calls == 2


def test_replicas_are_asked_to_open_until_each_has_answered_or_some_times_more() -> None:
    handle: Any = Handle(Method(answers))
    handle.open = Method(opens, opens, another_opens)
    assert asyncio.run(GroupClient(GROUP, handle, 2).open()) is None
    assert handle.open.calls == 3
    handle.open = Method(opens, another_opens)  # one at least, two at most
    assert asyncio.run(GroupClient(GROUP, handle, 1, 2).open()) is None
    assert handle.open.calls == 2
    handle.open = Method(opens)  # one of two is never chosen
    assert asyncio.run(GroupClient(GROUP, handle, 2).open()) is None
    assert handle.open.calls == 5


@pytest.mark.parametrize("up", [True, False])
def test_a_ping_tells_whether_the_group_answers(up: bool) -> None:
    handle: Any = Handle(Method(answers), up=up)
    assert asyncio.run(GroupClient(GROUP, handle, 1).ping()) is up


def test_the_first_line_of_an_error_or_its_class() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
