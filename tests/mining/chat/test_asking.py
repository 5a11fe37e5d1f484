from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from index.errors import BadInput, ClipmineError
from mining.chat.asking import Asking, Limits
from mining.chat.chat import ChatReply
from mining.chat.concurrency import ConcurrencyLimit
from mining.chat.outcomes import Outcome

FINE = Outcome("reply", ChatReply("fine", "stop"))
QUICK = Limits(retries=2, patience=5.0, first_wait=0.001)


def asked(outcomes: list[Outcome], limits: Limits = QUICK, limit: ConcurrencyLimit | None = None) -> ChatReply:
    """The reply to a request whose attempts have these outcomes."""
    attempts = iter(outcomes)

    async def attempt() -> Outcome:
        return next(attempts)

    async def run() -> ChatReply:
        return await Asking("http://host", limit or ConcurrencyLimit(), limits).ask(attempt)

    return asyncio.run(run())


@pytest.mark.parametrize("do", ["again", "slow", "busy", "away", "change"])
def test_what_may_go_better_is_attempted_again(do: Callable[..., str]) -> None:
    assert asked([Outcome(do, words="odd"), FINE]).text == "fine"  # type: ignore[arg-type]


def test_attempts_end_and_the_reply_says_how_many_there_were() -> None:
    assert asked([Outcome("again", words="odd")] * 3) == ChatReply("", "failed", error="odd (3 attempts)")


def test_a_busy_server_is_asked_more_often_than_one_that_fails() -> None:
    assert asked([Outcome("busy", words="429")] * 10 + [FINE]).text == "fine"
    assert asked([Outcome("busy", words="429")] * 11) == ChatReply("", "failed", error="429 (11 attempts)")


def test_a_server_that_is_away_is_waited_for_without_counting_attempts() -> None:
    assert asked([Outcome("away", words="refused")] * 12 + [FINE]).text == "fine"
    with pytest.raises(ClipmineError, match=r"http://host: no answer for 0 s \(refused\)"):
        asked([Outcome("away", words="refused")] * 20, Limits(patience=0.01, first_wait=0.01))


def test_a_server_that_gives_no_request_an_answer_of_use_ends_the_run() -> None:
    async def run(outcomes: Callable[[int], Outcome], requests: int) -> Sequence[str]:
        asking = Asking("http://host", ConcurrencyLimit(), Limits(retries=0, patience=0.0, first_wait=0.0))
        found = []
        for number in range(requests):

            async def attempt(number: int = number) -> Outcome:
                await asyncio.sleep(0.001)
                return outcomes(number)

            found.append((await asking.ask(attempt)).finish)
        return found

    odd = Outcome("again", words="no JSON")
    assert asyncio.run(run(lambda number: odd, 7)) == ["failed"] * 7  # it may be theirs
    with pytest.raises(ClipmineError, match=r"http://host: no answer of use for 0 s \(no JSON\); see whether"):
        asyncio.run(run(lambda number: odd, 8))
    assert asyncio.run(run(lambda number: FINE if number % 8 == 7 else odd, 30)).count("failed") == 27


def test_what_ends_the_run_is_raised() -> None:
    with pytest.raises(BadInput, match="no key"):
        asked([Outcome("end", error=BadInput("no key"))])


def test_overload_lowers_the_number_of_requests_and_nothing_is_left_counted() -> None:
    limit = ConcurrencyLimit(start=8)
    asked([Outcome("busy"), Outcome("slow"), FINE], limit=limit)
    assert (limit.value, limit.under_way) == (2, 0)


def test_no_more_attempts_run_at_once_than_the_limit_lets() -> None:
    limit, running, most = ConcurrencyLimit(most=3), 0, 0

    async def attempt() -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return FINE

    async def run() -> None:
        asking = Asking("http://host", limit, QUICK)
        await asyncio.gather(*(asking.ask(attempt) for _ in range(30)))

    asyncio.run(run())
    assert most == 3


def test_requests_that_are_cancelled_are_counted_off() -> None:
    limit = ConcurrencyLimit(most=2)

    async def attempt() -> Outcome:
        await asyncio.sleep(60)
        return FINE

    async def run() -> None:
        asking = Asking("http://host", limit, QUICK)
        tasks = [asyncio.create_task(asking.ask(attempt)) for _ in range(5)]
        await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())
    assert limit.under_way == 0
