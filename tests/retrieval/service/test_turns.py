from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from retrieval.service.admission import CLIENT
from retrieval.service.turns import FairPool, Turns


def test_each_client_has_its_turn_and_its_items_their_order() -> None:
    turns: Turns[str] = Turns()
    for item in ("a1", "a2", "a3", "b1", "c1", "b2"):
        turns.add(item[0], item)
    assert turns.first() == "a1"
    found = [turns.next() for _ in range(len(turns))]
    assert found == ["a1", "b1", "c1", "a2", "b2", "a3"]
    with pytest.raises(IndexError):
        turns.next()
    with pytest.raises(IndexError):
        turns.first()


def as_client(name: str, call: Callable[[], Any]) -> Any:
    return contextvars.copy_context().run(lambda: (CLIENT.set(name), call())[1])


def test_the_longest_line_gives_back_its_last_item() -> None:
    turns = Turns[int]()
    for client, item in [("a", 0), ("b", 1), ("b", 2), ("b", 3)]:
        turns.add(client, item)
    assert turns.longest() == ("b", 3)
    assert (turns.count("a"), turns.count("c")) == (1, 0)
    assert [turns.drop_last("b"), turns.drop_last("a")] == [3, 0]
    assert [turns.next() for _ in range(len(turns))] == [1, 2]
    with pytest.raises(KeyError):
        turns.drop_last("b")


def test_a_pool_takes_the_calls_of_its_clients_in_turns() -> None:
    pool, begun, go_on, order = FairPool(1, "test"), threading.Event(), threading.Event(), list[str]()

    def wait() -> bool:
        begun.set()
        return go_on.wait(30)

    first = as_client("a", lambda: pool.submit(wait))
    assert begun.wait(30)
    rest = [as_client(item[0], partial(pool.submit, order.append, item)) for item in ("a0", "a1", "a2", "b0")]
    assert rest[1].cancel()
    go_on.set()
    assert first.result(30)
    pool.shutdown()
    assert order == ["a0", "b0", "a2"]
    with pytest.raises(RuntimeError):
        pool.submit(print)


def test_a_pool_hands_on_errors_and_drops_what_waits_when_it_is_told_to() -> None:
    pool = FairPool(1, "test")
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result(30)
    go_on = threading.Event()
    pool.submit(go_on.wait, 30)
    waits = pool.submit(print)
    threading.Timer(0.05, go_on.set).start()
    pool.shutdown(cancel_futures=True)
    assert waits.cancelled()
