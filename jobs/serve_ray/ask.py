"""Asking one group of shards: with a deadline, and a second try on another replica; skips groups known to be down."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import time
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from jobs.serve_ray.groups import Group
from jobs.serve_ray.replicas import Answer, Refusal
from retrieval.service.backend import Overloaded

__all__ = ["GroupClient", "first_line"]

log = logging.getLogger("ray.serve")

# How long a request waits for another replica of a group after one died. A replacement takes longer to start.
SEEK_SECONDS = 1.0
PING_SECONDS = 5.0
OPEN_ROUNDS = 4
OPEN_SECONDS = 60.0  # for a replica to open a generation; shards of a remote store may be copied for longer
RECENT_SECONDS = 5.0  # an answer so long ago shows that a replica is up
SEEN_SECONDS = 30.0  # a replica that answered so long ago counts, where their number changes


class GroupClient:
    """A group of shards behind its handle. replicas: how many it has at least; most: and at most, if that changes."""

    def __init__(self, group: Group, handle: DeploymentHandle[Any], replicas: int, most: int | None = None) -> None:
        self.group, self._handle = group, handle
        self._least, self._most = replicas, most or replicas
        self._seen: dict[str, float] = {}  # when each replica last answered a search, a `time.monotonic`
        self._probe: asyncio.Task[None] | None = None  # runs while the group is down
        self._down_since = 0.0
        self._answered = -math.inf  # when a replica last answered, a `time.monotonic`

    async def ask(self, question: tuple[Any, ...], deadline: float) -> Answer | None:
        """`Shards.search(group, *question)`; None when there is no answer before the deadline, a `time.monotonic`.

        Raises:
            Overloaded: the group's queue is full.
        """
        if not await self._up(deadline):
            return None
        tries = [asyncio.create_task(self._try(question))]
        try:
            # With more than one replica, keep half of the time for a second try.
            rest, several = deadline - time.monotonic(), self._several()
            await asyncio.wait(tries, timeout=rest / 2 if several else rest)
            if tries[0].done():
                if not _failed(tries[0]):
                    return tries[0].result()
                self._goes_down("lost a request")
                if not await self._up(deadline):
                    return None
            elif several:
                log.warning("%s is slow: another replica is asked", self.group.deployment)
            else:
                self._goes_down("did not answer in time")
                return None
            tries.append(asyncio.create_task(self._try(question)))
            return await self._first(tries, deadline)
        finally:
            for one in tries:
                one.cancel()

    async def ping(self) -> bool:
        """Whether some replica of the group answers, or has just answered: a ping waits behind its requests."""
        if self._probe is not None:
            return False
        if time.monotonic() - self._answered < RECENT_SECONDS:
            return True
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._handle.ping.remote()
        except (TimeoutError, RayError, RayServeException):
            return False
        self._answered = time.monotonic()
        return True

    async def open(self) -> str | None:
        """Let the replicas open the group's generation. One line that says why one of them could not; else None.

        Serve chooses which replica gets a call, so the group is asked until each has answered, or some times more. One
        that was missed opens it with its first search. Where the number of replicas changes, there may be fewer to ask
        than the most that is tried for, and one that starts meanwhile opens what is on the disk.
        """
        opened: set[str] = set()
        for _ in range(OPEN_ROUNDS):
            missing = self._most - len(opened)
            for answer in await asyncio.gather(*(self._open() for _ in range(missing))):
                if isinstance(answer, Refusal):
                    return answer.message
                opened.add(answer)
            if len(opened) >= self._most:
                break
        return None

    async def _open(self) -> str | Refusal:
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                answer: str | Refusal = await self._handle.open.remote(self.group)
        except TimeoutError:
            return Refusal("TimeoutError", f"{self.group.deployment} has not opened it yet")
        except (RayError, RayServeException) as error:
            return Refusal("RayError", f"{self.group.deployment} does not answer: {first_line(error)}")
        return answer

    def close(self) -> None:
        """Stop pinging a group that is down."""
        if self._probe is not None:
            self._probe.cancel()

    async def _first(self, tries: list[asyncio.Task[Answer]], deadline: float) -> Answer | None:
        """The answer of the try that finishes first; None at the deadline, or when both fail."""
        left = {one for one in tries if not one.done()}
        while left and (rest := deadline - time.monotonic()) > 0:
            done, left = await asyncio.wait(left, timeout=rest, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                if not _failed(one):
                    return one.result()
        self._goes_down("did not answer twice")
        return None

    async def _try(self, question: tuple[Any, ...]) -> Answer:
        try:
            answer = await self._handle.search.remote(self.group, *question)
        except BackPressureError as error:
            raise Overloaded("the shards") from error
        if isinstance(answer, Refusal):
            raise _Refused(answer.message)
        scores, rows, replica = answer
        self._answered = self._seen[replica] = time.monotonic()
        return scores, rows

    def _several(self) -> bool:
        """Whether a second try would find another replica; one more try would only burden a single replica."""
        long_ago = time.monotonic() - SEEN_SECONDS
        self._seen = {replica: answered for replica, answered in self._seen.items() if answered > long_ago}
        return self._least > 1 or (self._most > 1 and len(self._seen) > 1)

    async def _up(self, deadline: float) -> bool:
        """Whether the group is up; waits up to SEEK_SECONDS after it went down, since another replica may answer."""
        if self._probe is None:
            return True
        now = time.monotonic()
        rest = min(self._down_since + SEEK_SECONDS, deadline) - now
        if rest > 0:
            await asyncio.wait([self._probe], timeout=rest)
        return self._probe is None

    def _goes_down(self, why: str) -> None:
        if self._probe is None:
            log.warning("%s %s; skipped until it answers a ping", self.group.deployment, why)
            self._down_since = time.monotonic()
            # In a context of its own: Serve cancels what runs in a request's context with that request.
            self._probe = asyncio.get_running_loop().create_task(self._until_up(), context=contextvars.Context())

    async def _until_up(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._handle.ping.remote()
                break
            except (TimeoutError, RayError, RayServeException):
                await asyncio.sleep(0.1)
        self._probe = None
        log.info("%s answers again", self.group.deployment)


class _Refused(Exception):
    """A replica could not search; its log has the details."""


def _failed(attempt: asyncio.Task[Any]) -> bool:
    """Whether a finished try failed in a way that a try on another replica may not."""
    error = attempt.exception()
    if isinstance(error, (RayError, RayServeException, _Refused)):
        log.warning("a shard did not answer: %s", first_line(error))
        return True
    return False


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its class's name where there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
