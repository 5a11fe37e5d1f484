"""A Ctrl-C is noted once and then obeyed; elsewhere it stays what it was."""

from __future__ import annotations

import signal
import threading

import pytest

from customize.lmm.train.interruption import noted_interruption

pytestmark = pytest.mark.usefixtures("sigint_obeyed")


def test_the_first_is_noted_and_the_second_stops() -> None:
    former = signal.getsignal(signal.SIGINT)
    with noted_interruption() as found:
        assert not found.asked
        signal.raise_signal(signal.SIGINT)
        assert found.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is former


def test_it_stops_at_once_where_it_is_not_noted() -> None:
    with noted_interruption(enabled=False) as found, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert not found.asked


def test_another_thread_changes_nothing() -> None:
    former, seen = signal.getsignal(signal.SIGINT), []

    def enter() -> None:
        with noted_interruption():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [former]
