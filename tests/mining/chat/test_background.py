from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from index.errors import ClipmineError
from mining.chat.background import answered_in_background

opened: list[str] = []


@asynccontextmanager
async def doubling() -> AsyncIterator[Callable[[int], Awaitable[int]]]:
    async def answer(number: int) -> int:
        try:
            await asyncio.sleep(0.0 if number % 2 else 0.01)
        except asyncio.CancelledError:
            opened.append("cancelled")
            raise
        if number < 0:
            raise ClipmineError("a negative number")
        return 2 * number

    opened.append("open")
    yield answer
    opened.append("closed")


@pytest.fixture(autouse=True)
def fresh() -> None:
    opened.clear()


def numbers(count: int, taken: list[int] | None = None) -> Iterator[tuple[str, int]]:
    for number in range(count):
        if taken is not None:
            taken.append(threading.get_ident())
        yield str(number), number


def test_every_request_is_answered_and_the_callers_iterator_is_read_in_the_callers_thread() -> None:
    taken: list[int] = []
    found = dict(answered_in_background(numbers(50, taken), doubling, lambda: 5))
    assert found == {str(number): 2 * number for number in range(50)}
    assert set(taken) == {threading.get_ident()}
    assert opened == ["open", "closed"]


def test_requests_are_taken_only_as_far_ahead_as_allowed() -> None:
    taken: list[int] = []
    answers = answered_in_background(numbers(50, taken), doubling, lambda: 3)
    for answered in range(10):
        next(answers)
        assert len(taken) <= answered + 3
    answers.close()  # type: ignore[attr-defined]


def test_an_error_of_one_answer_ends_the_others() -> None:
    threads = threading.active_count()
    requests = [("a", 100), ("b", -1), ("c", 102)]
    with pytest.raises(ClipmineError, match="a negative number"):
        dict(answered_in_background(iter(requests), doubling, lambda: 3))
    assert opened[-1] == "closed"
    assert threading.active_count() == threads


def test_leaving_early_cancels_what_is_under_way() -> None:
    answers = answered_in_background(numbers(50), doubling, lambda: 10)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert "cancelled" in opened
    assert opened[-1] == "closed"


def test_an_error_of_the_callers_iterator_reaches_the_caller() -> None:
    def broken() -> Iterator[tuple[str, int]]:
        yield "1", 1
        raise ClipmineError("no image")

    with pytest.raises(ClipmineError, match="no image"):
        dict(answered_in_background(broken(), doubling, lambda: 5))
    assert opened[-1] == "closed"


def test_no_request_opens_and_closes() -> None:
    assert list(answered_in_background(iter([]), doubling, lambda: 5)) == []
    assert opened == ["open", "closed"]


def test_what_cannot_be_opened_raises() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[Callable[[int], Awaitable[int]]]:
        raise ClipmineError("not installed")
        yield

    with pytest.raises(ClipmineError, match="not installed"):
        list(answered_in_background(numbers(3), broken, lambda: 5))
