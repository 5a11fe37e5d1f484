"""Loads the service with clients that check every answer, and kills shard replicas meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.service_load.expected import GROUPS, Question, what_is_wrong
from benchmarks.service_load.service import pids

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
ENOUGH = 0.9  # the knee: the fewest clients that reach this share of the highest requests/s


@dataclass
class Seen:
    """What the clients observed: seconds of each answer, statuses, partial answers and wrong ones."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    partial: int = 0
    wrong: list[str] = field(default_factory=list)


def find_knee(url: str, questions: list[Question], seconds: float) -> int:
    """Raise the number of clients, print the latency curve, and return the number at its knee."""
    asyncio.run(load(url, questions, 4, seconds))  # the first requests open connections and read pages
    print(f"{'clients':>8} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}")
    rates: dict[int, float] = {}
    for clients in CLIENTS:
        seen = asyncio.run(load(url, questions, clients, seconds))
        p50, p99 = percentiles(seen.seconds)
        rates[clients] = len(seen.seconds) / seconds
        print(f"{clients:8} {rates[clients]:11.1f} {p50:8.1f} {p99:8.1f}", flush=True)
        if rates[clients] < ENOUGH * max(rates.values()):
            break  # beyond the knee
    return next(clients for clients, rate in rates.items() if rate >= ENOUGH * max(rates.values()))


async def load(url: str, questions: list[Question], clients: int, seconds: float) -> Seen:
    """Run `clients` clients for `seconds`, each with one request at a time."""
    seen = Seen()
    end = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        await asyncio.gather(*(client(http, questions, number * 7, end, seen) for number in range(clients)))
    return seen


async def client(http: httpx.AsyncClient, questions: list[Question], number: int, end: float, seen: Seen) -> None:
    while time.monotonic() < end:
        question = questions[number % len(questions)]
        number += 1
        began = time.monotonic()
        try:
            response = await http.post("/search", json=question.body)
        except httpx.HTTPError as error:
            seen.statuses[type(error).__name__] += 1
            continue
        status = str(response.status_code)
        if response.status_code in (429, 503):
            wait = response.headers.get("retry-after")
            seen.statuses[status if wait else f"{status} without Retry-After"] += 1
            await asyncio.sleep(min(float(wait or 1), 1))
            continue
        seen.statuses[status] += 1
        if response.status_code == 200:
            seen.seconds.append(time.monotonic() - began)
            answer = response.json()
            seen.partial += bool(answer["partial"])
            problem = what_is_wrong(question, answer)
            if problem:
                seen.wrong.append(problem)


async def load_and_kill(
    url: str, questions: list[Question], clients: int, seconds: float, every: float, service: int, replicas: int
) -> tuple[Seen, dict[str, int]]:
    """Load the service for `seconds` and SIGKILL a shard's replica every `every` seconds.

    The last kill comes early enough for its replica to be replaced.
    """
    loading = asyncio.create_task(load(url, questions, clients, seconds))
    kills = replaced = 0
    end = time.monotonic() + seconds
    while time.monotonic() + 1.5 * every < end or not kills:
        await asyncio.sleep(every / 2)
        name = f"shards-{kills % GROUPS}"
        before = pids(service, name)
        os.kill(before[0], signal.SIGKILL)
        kills += 1
        began = time.monotonic()
        new = pids(service, name)
        while time.monotonic() < end and (before[0] in new or len(new) != replicas):
            await asyncio.sleep(0.2)
            new = pids(service, name)
        replaced += len(new) == replicas and before[0] not in new
        print(f"killed {name} (process {before[0]}): a new one after {time.monotonic() - began:.1f} s", flush=True)
        await asyncio.sleep(max(0.0, began + every / 2 - time.monotonic()))
    return await loading, {"kills": kills, "replaced": replaced}


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    if len(seconds) < 2:
        return (0.0, 0.0)
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1e3, cuts[98] * 1e3


def summary(seen: Seen, knee: int, minutes: float) -> dict[str, Any]:
    """The figures of the load."""
    allowed = {"200", "429", "503"}
    p50, p99 = percentiles(seen.seconds)
    return {
        "clients_at_the_knee": knee,
        "minutes": minutes,
        "answered": len(seen.seconds),
        "requests_per_second": round(len(seen.seconds) / minutes / 60, 1),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "partial": seen.partial,
        "wrong": len(seen.wrong),
        "statuses": dict(seen.statuses),
        "statuses_not_allowed": sum(count for status, count in seen.statuses.items() if status not in allowed),
    }
