"""A cheap HTTP load: sends prepared bytes over plain sockets and reads every answer to its end.

Run by `benchmarks.service_peers` as a process of its own: http_load.py HOST PORT CLIENTS SECONDS < requests, where
requests are JSON lines {"path", "body"}. A full HTTP client would use as much of the 2 cores as the measured server.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time


async def client(address: tuple[str, int], requests: list[bytes], end: float, seen: list[float]) -> int:
    """Send requests in turn until `end`, on one connection if the server keeps it; the number of answers not 200.

    Appends the seconds of each request to `seen`.
    """
    reader = writer = None
    wrong = 0
    number = 0
    while (began := time.perf_counter()) < end:
        if writer is None:
            reader, writer = await asyncio.open_connection(*address)
        assert reader is not None
        writer.write(requests[number % len(requests)])
        number += 1
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        seen.append(time.perf_counter() - began)
        wrong += b" 200 " not in head[:20]
        if b"connection: close" in lower or head.startswith(b"HTTP/1.0"):
            writer.close()
            writer = None
    return wrong


async def load(address: tuple[str, int], requests: list[bytes], clients: int, seconds: float) -> dict[str, float]:
    """Requests/s, and latencies in milliseconds; each client starts at another place in the list."""
    seen: list[float] = []
    began = time.perf_counter()
    firsts = [number * len(requests) // clients for number in range(clients)]
    shares = [requests[first:] + requests[:first] for first in firsts]
    wrong = await asyncio.gather(*(client(address, share, began + seconds, seen) for share in shares))
    took = time.perf_counter() - began
    cuts = statistics.quantiles(seen, n=100) if len(seen) > 1 else [0.0] * 99
    return {
        "requests_per_second": round(len(seen) / took, 1),
        "p50_ms": round(cuts[49] * 1e3, 2),
        "p99_ms": round(cuts[98] * 1e3, 2),
        "answered": len(seen),
        "not_200": sum(wrong),
        "seconds": round(took, 2),
    }


def main() -> None:
    host, port, clients, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    requests = []
    for line in sys.stdin:
        request = json.loads(line)
        body = request["body"].encode()
        head = f"POST {request['path']} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        requests.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    print(json.dumps(asyncio.run(load((host, port), requests, clients, seconds))))


if __name__ == "__main__":
    main()
