"""Items are prepared ahead in order and within a bound; errors come through, and closing ends the thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from index.read_ahead import read_ahead


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_all_items_come_in_order() -> None:
    assert list(read_ahead(range(100), 3)) == list(range(100))
    assert list(read_ahead([], 1)) == []
    assert not threads()


def test_items_are_prepared_ahead_up_to_the_bound() -> None:
    prepared = threading.Semaphore(0)
    count = 0

    def items() -> Iterator[int]:
        nonlocal count
        for number in range(50):
            count += 1
            prepared.release()
            yield number

    running = read_ahead(items(), 3)
    assert next(running) == 0
    for _ in range(5):  # the one given out, three that are ready, and one that waits for a place
        assert prepared.acquire(timeout=60)
    assert count == 5
    running.close()


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the network is gone")

    running = read_ahead(items(), 2)
    assert next(running) == 1
    with pytest.raises(OSError, match="network is gone"):
        next(running)
    assert not threads()


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_closing_ends_the_thread_and_closes_the_source(taken: int) -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    running = read_ahead(items(), 2)
    for number in range(taken):
        assert next(running) == number
    running.close()
    assert closed.is_set() == (taken > 0)  # a generator that was never started has no thread
    assert not threads()
