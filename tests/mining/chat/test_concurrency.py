from __future__ import annotations

import heapq

import pytest

from mining.chat.concurrency import ConcurrencyLimit


class Server:
    """A server simulated in its own time: seconds an answer at a load; refuses requests beyond `refuses_above`."""

    def __init__(self, workers: int, seconds: float = 1.0, refuses_above: int | None = None) -> None:
        self.workers, self.seconds, self.refuses_above = workers, seconds, refuses_above
        self.now = 0.0

    def ask(self, limit: ConcurrencyLimit, requests: int) -> tuple[list[int], int]:
        """Send requests as fast as the limit lets; gives the limit after each outcome, and the count of refusals."""
        free_at = [self.now] * self.workers
        under_way: list[tuple[float, float, bool]] = []
        limits, refused = [], 0
        while requests or under_way:
            while requests and limit.free:
                started = limit.started(self.now)
                requests -= 1
                if self.refuses_above is not None and limit.under_way > self.refuses_above:
                    heapq.heappush(under_way, (self.now + 0.01, started, False))
                else:
                    done = max(heapq.heappop(free_at), self.now) + self.seconds
                    heapq.heappush(free_at, done)
                    heapq.heappush(under_way, (done, started, True))
            self.now, started, good = heapq.heappop(under_way)
            if good:
                limit.answered(started, self.now)
            else:
                limit.overloaded(started, self.now)
                refused += 1
                requests += 1
            limits.append(limit.value)
        return limits, refused


def test_a_server_with_room_is_given_all_that_is_allowed() -> None:
    limits, _ = Server(workers=100).ask(ConcurrencyLimit(most=64), 300)
    assert limits[-1] == 64
    assert limits.index(64) < 8 + 16 + 32 + 8


def test_the_limit_stays_about_where_a_server_refuses() -> None:
    limits, refused = Server(workers=100, refuses_above=20).ask(ConcurrencyLimit(most=64), 3_000)
    settled = limits[500:]
    assert min(settled) >= 10
    assert max(settled) <= 22
    assert refused < 200


def test_a_burst_of_refusals_halves_the_limit_once() -> None:
    limit = ConcurrencyLimit(most=64, start=32)
    starts = [limit.started(0.0) for _ in range(32)]
    for number, started in enumerate(starts):
        limit.overloaded(started, 1.0 + number / 100)
    assert limit.value == 16
    limit.overloaded(limit.started(2.0), 2.1)
    assert limit.value == 8


def test_it_never_falls_below_one_request() -> None:
    limit = ConcurrencyLimit(start=2)
    for second in range(10):
        limit.overloaded(limit.started(second), second + 0.5)
    assert limit.value == 1
    assert limit.free


def test_it_does_not_grow_while_it_is_not_reached() -> None:
    limit = ConcurrencyLimit(most=64, start=8)
    for second in range(100):
        limit.answered(limit.started(second), second + 1)
    assert limit.value == 8


def test_it_grows_by_one_a_round_after_the_first_overload() -> None:
    limit = ConcurrencyLimit(most=64, start=8)
    limit.overloaded(limit.started(0.0), 1.0)
    assert limit.value == 4
    for round_ in range(2):
        starts = [limit.started(2.0 + round_) for _ in range(limit.value)]
        for started in starts:
            limit.answered(started, started + 0.5)
    assert limit.value == 6


def test_a_server_that_answers_one_by_one_gets_no_long_queue() -> None:
    limit = ConcurrencyLimit(most=64, start=4)
    limits, _ = Server(workers=1, seconds=0.1).ask(limit, 2_000)
    assert max(limits[1_000:]) < 48


def test_longer_answers_are_no_overload_for_long() -> None:
    server, limit = Server(workers=100, seconds=0.1), ConcurrencyLimit(most=64)
    server.ask(limit, 300)
    server.seconds = 2.0
    limits, _ = server.ask(limit, 3_000)
    assert limits[-1] > 32


@pytest.mark.parametrize(("most", "value"), [(3, 3), (1, 1), (64, 8)])
def test_it_starts_within_its_bounds(most: int, value: int) -> None:
    assert ConcurrencyLimit(most=most).value == value


def test_a_request_without_news_is_only_counted_off() -> None:
    limit = ConcurrencyLimit(start=2)
    limit.started(0.0)
    limit.ended()
    assert (limit.under_way, limit.value) == (0, 2)
