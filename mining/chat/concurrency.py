"""How many requests a server is sent at once: found by additive increase and multiplicative decrease, as in TCP.

    limit = ConcurrencyLimit(most=64)
    started = limit.started(now)                 # a request is sent
    limit.answered(started, now)                 # or limit.overloaded(started, now)
    limit.value                                  # requests that may be under way

The limit doubles at first, a round of answers at a time, until the server shows that it is overloaded; from then on it
grows by one a round. It shrinks when the server refuses (429, 503), when a request times out, and when answers take
many times as long as they did: a server that answers one request after another gains nothing from a longer queue.
Times are arguments, in seconds on any clock that does not go back.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

__all__ = ["ConcurrencyLimit"]

# Answers in a window whose median latency is looked at, at least.
_WINDOW = 16
# A server that batches takes two or three times as long for an answer among 64 than for a lone one.
_BLOW_UP = 8.0
# The least median grows by this much a blow-up, so that a change to longer answers is not taken for overload for long.
_FORGET = 1.03


@dataclass
class ConcurrencyLimit:
    """most: the limit's upper bound. start: its first value, and what latency alone does not push it below."""

    most: int = 64
    start: int = 8
    _value: float = field(init=False)
    _doubling: bool = field(init=False, default=True)
    _answers: int = field(init=False, default=0)
    _under_way: int = field(init=False, default=0)
    _was_full: bool = field(init=False, default=False)
    _decreased: float = field(init=False, default=float("-inf"))
    _latencies: list[float] = field(init=False, default_factory=list)
    _least: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.start = max(1, min(self.start, self.most))
        self._value = float(self.start)

    @property
    def value(self) -> int:
        """How many requests may be under way, 1 to `most`."""
        return int(self._value)

    @property
    def under_way(self) -> int:
        """Requests that were started and are not answered yet."""
        return self._under_way

    @property
    def free(self) -> bool:
        """Whether one more request may be sent."""
        return self._under_way < self.value

    def started(self, now: float) -> float:
        """Count a request that is sent; its start is given back with its outcome."""
        self._under_way += 1
        self._was_full |= not self.free
        return now

    def ended(self) -> None:
        """Count off a request whose outcome says nothing of the load: a refused prompt, a lost connection."""
        self._under_way -= 1

    def answered(self, started: float, now: float) -> None:
        """A request was answered: the limit grows after each round of answers in which it was reached."""
        self._under_way -= 1
        self._answers += 1
        self._latencies.append(now - started)
        if len(self._latencies) >= max(_WINDOW, self.value) and self._blown_up():
            self._decrease(0.75, now, least=self.start)
        if self._answers < self.value:
            return
        if self._was_full:
            self._value = min(float(self.most), self._value * 2 if self._doubling else self._value + 1)
        self._answers, self._was_full = 0, False

    def overloaded(self, started: float, now: float) -> None:
        """The server refused a request or did not answer in time.

        A request that was sent before the last decrease does not decrease the limit again.
        """
        self._under_way -= 1
        if started >= self._decreased:
            self._decrease(0.5, now, least=1)

    def _decrease(self, factor: float, now: float, least: int) -> None:
        self._doubling = False
        self._value = min(self._value, max(float(least), self._value * factor))
        self._decreased, self._answers, self._was_full = now, 0, False
        self._latencies.clear()

    def _blown_up(self) -> bool:
        """Whether this window's median latency is many times the least one; begins the next window."""
        median = statistics.median(self._latencies)
        self._latencies.clear()
        if self._least is None or median < self._least:
            self._least = median
            return False
        if median <= _BLOW_UP * self._least:
            return False
        self._least *= _FORGET
        return True
