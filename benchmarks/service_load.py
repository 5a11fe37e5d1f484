"""The service on Ray under load while shards are killed: every answer is right or says which shard it lacks.

Run as: python benchmarks/service_load.py [--quick] [--minutes 15]

`clipmine serve --ray` runs with two groups of shards. The number of clients is raised until more of them bring no more
requests/s: the knee of the latency curve. With so many clients the service is then loaded for --minutes, and every
minute (--quick: every 15 s) the process of a shard replica gets SIGKILL, the groups in turn. Six of eight requests
bring a vector and walk the graphs, one brings a vector and asks for an exact scan, one brings a text.

Every answer is compared with what `service_load_expected.py` computed beforehand. Allowed statuses are 200, and 429 and
503 with Retry-After. The front's memory may not grow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import httpx
from service_load_expected import GROUPS, ROWS, Question, indexed_store, make_questions, what_is_wrong

from index.store.embedding_store import EmbeddingStore
from jobs.serve_ray.groups import plan_groups

CLIENTS = (1, 2, 4, 8, 16, 32, 64)
ENOUGH = 0.9  # the knee: the fewest clients that reach this share of the most requests/s
MOST_GROWTH = 0.1  # of the front's memory between the ramp and the end


@dataclass
class Seen:
    """What the clients saw."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    partial: int = 0
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute of load, a kill every 15 s, a shorter ramp")
    parser.add_argument("--minutes", type=float, help="of load at the knee; 15 by default")
    parser.add_argument("--every", type=float, help="seconds from one kill to the next; 60 by default")
    parser.add_argument("--replicas", type=int, default=1, help="of each group of shards")
    parser.add_argument("--start-seconds", type=float, default=300, help="until the service must be ready")
    args = parser.parse_args()
    minutes = args.minutes or (1 if args.quick else 15)
    every, step = (args.every or 15.0, 4.0) if args.quick else (args.every or 60.0, 15.0)
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.machine()}, {cores} cores; {ROWS:,} x 512 in {GROUPS} groups of shards x {args.replicas}")
    with tempfile.TemporaryDirectory() as folder:
        store = indexed_store(Path(folder))
        questions = make_questions(store, plan_groups(store, GROUPS))
        with running(store, args.replicas, args.start_seconds) as (url, service):
            knee = find_knee(url, questions, step)
            front = pids(service, "front")[0]
            before = resident_mb(front)
            print(f"\n{knee} clients for {minutes:g} minutes, a kill every {every:g} s")
            seen, kills = asyncio.run(load_and_kill(url, questions, knee, minutes * 60, every, service, args.replicas))
            whole = whole_again(url, questions[0])
            alive = front in pids(service, "front")
            after = resident_mb(front) if alive else float("inf")
    figures = summary(seen, knee, minutes) | kills | {"seconds_until_whole": whole}
    figures |= {"front_mb_before": round(before), "front_mb_after": round(after), "front_growth": after / before - 1}
    targets = {
        "wrong": 0,
        "statuses_not_allowed": 0,
        "replaced": kills["kills"],
        "front_growth": MOST_GROWTH,
    }
    holds = (
        figures["wrong"] == 0
        and figures["statuses_not_allowed"] == 0
        and kills["replaced"] == kills["kills"] > 0
        and figures["front_growth"] <= MOST_GROWTH
        and figures["answered"] > figures["partial"]
        and whole is not None
    )
    for name, figure in figures.items():
        print(f"{name:24} {figure:,.3f}" if isinstance(figure, float) else f"{name:24} {figure}")
    for line in seen.wrong[:10]:
        print(f"wrong: {line}")
    figures["front_growth"] = round(figures["front_growth"], 3)
    print(json.dumps({"name": "service_load", "figures": figures, "targets": targets, "holds": holds}))
    return 0


@contextmanager
def running(store: EmbeddingStore, replicas: int, seconds: float) -> Iterator[tuple[str, int]]:
    """The service as a user starts it: its address and its process id."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    tool = str(Path(sys.executable).parent / "clipmine")
    options = ["--host", "127.0.0.1", "--port", str(port), "--shard-groups", str(GROUPS)]
    command = [tool, "serve", str(store.path), "--ray", *options, "--shard-replicas", str(replicas)]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    service = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + seconds
        while not is_ready(url):
            if service.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the service did not start within {seconds:g} s")
            time.sleep(0.5)
        yield url, service.pid
    finally:
        service.terminate()
        try:
            service.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(service.pid, signal.SIGKILL)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def find_knee(url: str, questions: list[Question], seconds: float) -> int:
    """Raise the number of clients; print the curve."""
    asyncio.run(load(url, questions, 4, seconds))  # the first requests open connections and read pages
    print(f"{'clients':>8} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}")
    rates: dict[int, float] = {}
    for clients in CLIENTS:
        seen = asyncio.run(load(url, questions, clients, seconds))
        p50, p99 = percentiles(seen.seconds)
        rates[clients] = len(seen.seconds) / seconds
        print(f"{clients:8} {rates[clients]:11.1f} {p50:8.1f} {p99:8.1f}", flush=True)
        if rates[clients] < ENOUGH * max(rates.values()):
            break  # beyond the knee already
    return next(clients for clients, rate in rates.items() if rate >= ENOUGH * max(rates.values()))


async def load(url: str, questions: list[Question], clients: int, seconds: float) -> Seen:
    """So many clients, each with one request at a time, for so long."""
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
    """Load for so long; SIGKILL a shard's replica every so often, the last one early enough to be replaced."""
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


def whole_again(url: str, question: Question) -> float | None:
    """Seconds until an answer lacks no shard, None when that takes more than two minutes."""
    began = time.monotonic()
    while (passed := time.monotonic() - began) < 120:
        response = httpx.post(f"{url}/search", json=question.body, timeout=60)
        if response.status_code == 200 and not response.json()["partial"]:
            return round(passed, 1)
        time.sleep(0.2)
    return None


def pids(service: int, deployment: str) -> list[int]:
    """Processes of a deployment's replicas among the descendants of the service's process."""
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                titles[int(entry.name)] = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = []
    for pid, title in titles.items():
        # While its constructor runs, a replica's title ends in .initialize_and_get_metadata.
        if title.startswith(f"ray::ServeReplica:clipmine:{deployment}".encode()) and b".initialize" not in title:
            above = pid
            while above > 1 and above != service:
                above = parents.get(above, 0)
            if above == service:
                found.append(pid)
    return sorted(found)


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


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


if __name__ == "__main__":
    raise SystemExit(main())
