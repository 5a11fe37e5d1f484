"""Asking one server many requests at once: how many, when again, and when to give up.

Each request has attempts; between them it waits, longer each time and by chance, so that requests that failed together
do not come back together. A server that is away or refuses everything is waited for as long as the patience lasts; a
single request that keeps failing is given up before that, so that it does not hold up the others. Where one request
after the other is given up for as long as the patience lasts, the run ends.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from index.errors import ClipmineError
from mining.chat.chat import ChatReply
from mining.chat.concurrency import ConcurrencyLimit
from mining.chat.outcomes import Outcome

__all__ = ["Asking", "Limits"]

log = logging.getLogger(__name__)

# Waits of one request while the server is busy, for each of its retries; each is as long as the server asks.
_BUSY_WAITS = 5
_LONGEST_WAIT = 30.0  # seconds between two attempts that failed, at most
# Seconds between two looks for a server that is away or busy, where it does not ask for more. One that is busy is
# spared by sending it less at once; a request that waits on and on would only be the last one of the run.
_LONGEST_LOOK = 5.0
# Requests given up in a row, at least, before the fault is the server's and not theirs.
_GIVEN_UP = 8


@dataclass(frozen=True)
class Limits:
    """retries: attempts of one request after the first. patience: seconds without any answer until the run ends.

    first_wait: seconds before the second attempt, doubled for each further one.
    """

    retries: int = 4
    patience: float = 300.0
    first_wait: float = 0.5


class Asking:
    """The state that the requests to one server share. Used in one event loop."""

    def __init__(self, where: str, concurrency: ConcurrencyLimit, limits: Limits) -> None:
        self._where, self._concurrency, self._limits = where, concurrency, limits
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._not_before = 0.0  # no request is sent before this time
        self._trouble_since: float | None = None
        self._told = False
        self._given_up, self._failing_since = 0, math.inf  # since the last reply

    async def ask(self, attempt: Callable[[], Awaitable[Outcome]]) -> ChatReply:
        """The reply of the first attempt that gives one, or a failed reply. Raises what ends the whole run."""
        failures = busy = away = 0
        while True:
            outcome = await self._attempted(attempt)
            match outcome.do:
                case "reply":
                    assert outcome.reply is not None
                    return outcome.reply
                case "end":
                    assert outcome.error is not None
                    raise outcome.error
                case "change":
                    continue
                case "away":
                    away += 1
                    self._troubled(outcome)
                    await self._sleep(away, 0.0, _LONGEST_LOOK)
                    continue
                case "busy":
                    busy += 1
                    self._troubled(outcome)
                    if busy <= _BUSY_WAITS * max(1, self._limits.retries):
                        await self._sleep(busy, outcome.wait, _LONGEST_LOOK)
                        continue
                case _:
                    failures += 1
                    if failures <= self._limits.retries:
                        await self._sleep(failures, outcome.wait, _LONGEST_WAIT)
                        continue
            self._note_given_up(outcome)
            return ChatReply("", "failed", error=f"{outcome.words} ({failures + busy} attempts)")

    async def _attempted(self, attempt: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """One attempt, sent when the server may have one more request."""
        started, outcome = await self._enter(), None
        try:
            outcome = await attempt()
        finally:
            now = asyncio.get_running_loop().time()
            if outcome is not None and outcome.do == "reply" and outcome.reply and outcome.reply.answered:
                self._concurrency.answered(started, now)
            elif outcome is not None and outcome.do in ("busy", "slow"):
                self._concurrency.overloaded(started, now)
            else:
                self._concurrency.ended()
            self._wake()
        if outcome.do == "reply":
            self._recovered(started)
            self._given_up, self._failing_since = 0, math.inf
        else:
            self._failing_since = min(self._failing_since, now)
        if outcome.do == "busy" and outcome.wait:
            self._not_before = max(self._not_before, now + outcome.wait)
        return outcome

    async def _enter(self) -> float:
        loop = asyncio.get_running_loop()
        while True:
            if (wait := self._not_before - loop.time()) > 0:
                await asyncio.sleep(wait * random.uniform(1.0, 1.1))
            elif self._concurrency.free:
                return self._concurrency.started(loop.time())
            else:
                turn = loop.create_future()
                self._waiting.append(turn)
                await turn

    def _wake(self) -> None:
        free = self._concurrency.value - self._concurrency.under_way
        while self._waiting and free > 0:
            turn = self._waiting.popleft()
            if not turn.done():  # one that was cancelled is done
                turn.set_result(None)
                free -= 1

    async def _sleep(self, attempts: int, asked: float, longest: float) -> None:
        wait = min(longest, self._limits.first_wait * 2.0 ** min(attempts - 1, 20))
        await asyncio.sleep(max(asked, wait * random.uniform(0.5, 1.0)))

    def _troubled(self, outcome: Outcome) -> None:
        """The server is away or refuses everything: say so once, and end the run when patience is over."""
        now, patience = asyncio.get_running_loop().time(), self._limits.patience
        if self._trouble_since is None:
            self._trouble_since = now
        if outcome.wait > patience:
            raise ClipmineError(
                f"{self._where}: asks to wait {outcome.wait:,.0f} s ({outcome.words}), longer than the patience of "
                f"{patience:,.0f} s; run this again later"
            )
        if now - self._trouble_since > patience:
            raise ClipmineError(
                f"{self._where}: no answer for {patience:,.0f} s ({outcome.words}); run this again later"
            )
        if outcome.do == "away" and not self._told:
            self._told = True
            log.warning("%s: %s; waiting up to %.0f s for it", self._where, outcome.words, patience)

    def _note_given_up(self, outcome: Outcome) -> None:
        """Count a request that is given up; many in a row, for longer than the patience, end the run."""
        self._given_up += 1
        failing = asyncio.get_running_loop().time() - self._failing_since
        if self._given_up >= _GIVEN_UP and failing > self._limits.patience:
            raise ClipmineError(
                f"{self._where}: no answer of use for {failing:,.0f} s ({outcome.words}); see whether the server is "
                "well, and run this again"
            )

    def _recovered(self, started: float) -> None:
        if self._trouble_since is None or started < self._trouble_since:
            return  # an answer to a request from before
        if self._told:
            log.warning("%s: answers again", self._where)
        self._trouble_since, self._told = None, False
