"""What runs beside the service while it is attacked, as a process of its own: probes, an authorised client, memory.

Run by `benchmarks.service_attack`, not by hand: beside PORT PID TOKEN < searches, a JSON object of the bodies to
send by their kind. It prints JSON lines until it is stopped:

    {"kind": "probe", "what": "/healthz", "began": seconds, "took": seconds, "status": 200}
    {"kind": "search", "what": "text", "began": ..., "took": ..., "status": 200}
    {"kind": "list", "what": "concepts", "began": ..., "took": ..., "status": 200}
    {"kind": "memory", "at": seconds, "mb": 812.0, "files": 90, "oldest": seconds,
     "oldest_search": seconds}

Times are of `time.monotonic`, which all processes of a machine share. oldest: of the probe that has waited longest,
and of the search.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from typing import Any

HOST = "127.0.0.1"
EVERY = 0.05  # seconds between two probes of a path
LONGEST = 30.0  # seconds after which a probe or a search is given up
WAITING = 100  # probes of a path that may wait at the same time
PATHS = ("/healthz", "/readyz")
MEMORY_EVERY = 0.1
LIST_EVERY = 0.5
BETWEEN = 0.01  # seconds between two searches of a kind


def say(kind: str, **fields: Any) -> None:
    """Print a line."""
    print(json.dumps({"kind": kind, **fields}), flush=True)


async def get_status(port: int, path: str) -> int | str:
    """The status of a GET on a fresh connection, or why there is none."""
    writer = None
    try:
        async with asyncio.timeout(LONGEST):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            return int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else "no answer"
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return type(error).__name__
    finally:
        if writer is not None:
            writer.close()


async def probe(port: int, path: str, waiting: dict[object, float]) -> None:
    """Probe a path every `EVERY` seconds, whether or not earlier probes have been answered."""
    own = 0

    async def one() -> None:
        nonlocal own
        began = time.monotonic()
        key = object()
        waiting[key] = began
        own += 1
        status = await get_status(port, path)
        own -= 1
        del waiting[key]
        say("probe", what=path, began=began, took=time.monotonic() - began, status=status)

    tasks: set[asyncio.Task[None]] = set()
    due = time.monotonic()
    while True:
        if own < WAITING:
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        due = max(due + EVERY, time.monotonic())
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def search(port: int, token: str, kind: str, bodies: list[dict[str, Any]], waiting: dict[object, float]) -> None:
    """Search again and again, on a kept connection, as an HTTP client does."""
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    number = 0
    while True:
        body = json.dumps(bodies[number % len(bodies)]).encode()
        number += 1
        head = f"POST /search HTTP/1.1\r\nHost: {HOST}:{port}\r\nAuthorization: Bearer {token}\r\n"
        began = waiting[kind] = time.monotonic()
        status: int | str
        try:
            async with asyncio.timeout(LONGEST):
                connection = connection or await asyncio.open_connection(HOST, port)
                reader, writer = connection
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                answer = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(answer.split(b"content-length:")[1].split(b"\r\n")[0]))
                status = int(answer.split(b" ")[1])
                if b"connection: close" in answer:
                    writer.close()
                    connection = None
        except (TimeoutError, OSError, EOFError, ValueError, IndexError) as error:
            status = type(error).__name__
            if connection is not None:
                connection[1].close()
            connection = None
        del waiting[kind]
        say("search", what=kind, began=began, took=time.monotonic() - began, status=status)
        await asyncio.sleep(BETWEEN if status == 200 else 0.2)


async def concept_list(port: int, token: str) -> None:
    """Send a concept list of two names again and again, each on a fresh connection, and read its stream."""
    body = json.dumps({"concepts": ["ball", "cube"], "templates": ["name"], "k": 3}).encode()
    head = f"POST /concepts HTTP/1.1\r\nHost: {HOST}:{port}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n"
    while True:
        began = time.monotonic()
        writer = None
        status: int | str
        try:
            async with asyncio.timeout(LONGEST):
                reader, writer = await asyncio.open_connection(HOST, port)
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                answer = await reader.read()
                status = int(answer.split(b" ")[1])
                if status == 200 and b'"type":"end"' not in answer:
                    status = "cut off"
        except (TimeoutError, OSError, ValueError, IndexError) as error:
            status = type(error).__name__
        finally:
            if writer is not None:
                writer.close()
        say("list", what="concepts", began=began, took=time.monotonic() - began, status=status)
        await asyncio.sleep(LIST_EVERY)


async def memory(pid: int, waiting: dict[object, float], searching: dict[object, float]) -> None:
    """The resident memory of the service's process and those that it started, and its open files."""
    import psutil  # type: ignore[import-untyped]

    service = psutil.Process(pid)
    while True:
        at, total, files = time.monotonic(), 0, 0
        with contextlib.suppress(psutil.Error):
            for process in (service, *service.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    total += process.memory_info().rss
            files = service.num_fds()
        oldest = at - min(waiting.values(), default=at)
        search = at - min(searching.values(), default=at)
        fields = {"oldest": round(oldest, 3), "oldest_search": round(search, 3)}
        say("memory", at=at, mb=round(total / 1e6, 1), files=files, **fields)
        await asyncio.sleep(MEMORY_EVERY)


async def run(port: int, pid: int, token: str, searches: dict[str, list[dict[str, Any]]]) -> None:
    """All of them, until this process is stopped."""
    waiting: dict[object, float] = {}
    searching: dict[object, float] = {}
    await asyncio.gather(
        *(probe(port, path, waiting) for path in PATHS),
        *(search(port, token, kind, bodies, searching) for kind, bodies in searches.items()),
        concept_list(port, token),
        memory(pid, waiting, searching),
    )


def main() -> None:
    with contextlib.suppress(OSError):
        os.nice(-5)  # so that the attack's own processor time does not look like the service's
    searches = json.load(sys.stdin)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], searches))


if __name__ == "__main__":
    main()
