"""Attacks by clients that do not read, or only a byte a second, what they have asked for; with a token."""

from __future__ import annotations

import asyncio
import json

from benchmarks.service_attack.attacker import Attacker, attack

ALL_COLUMNS = [
    "key", "shard", "offset", "size", "caption", "captions", "url", "width", "height", "sha256", "text_tokens_cut",
    "extra",
]  # fmt: skip
SMALL = 2_048  # bytes of the receive buffer: Linux makes 2,304 of less


@attack(needs_token=True)
async def unread_answers(a: Attacker) -> None:
    """24 clients search with 100 queries, k 1,000 and all columns, and read nothing."""
    await _unread(a, [_large(a)], 24)


@attack(needs_token=True)
async def unread_again_and_again(a: Attacker) -> None:
    """16 clients do so, wait for the first bytes, keep the connection and open the next one."""
    request = _large(a)
    a.begin()

    async def once(_: int) -> None:
        with a.counted():
            sock = await a.connect(SMALL)
            a.held.append(sock)
            await a.send(sock, request)
            await a.status(sock, drain=False)

    await a.crowd(16, once)


@attack(needs_token=True)
async def unread_streams(a: Attacker) -> None:
    """12 concept lists whose streams are never read."""
    names = [f"concept {number}" for number in range(400)]
    fields = {"concepts": names, "templates": ["name"], "k": 500, "columns": ALL_COLUMNS}
    rules = {"cross_concept": "keep-all", "exact_duplicates": False}
    bodies = [json.dumps({**fields, **more}).encode() for more in ({"rules": rules}, {})]
    await _unread(a, [a.request("POST", "/concepts", body) for body in bodies], 12)


@attack(needs_token=True)
async def byte_a_second(a: Attacker) -> None:
    """24 clients search with large answers and 4 with concept lists, and read a byte a second."""
    body = {"concepts": [f"concept {number}" for number in range(400)], "templates": ["name"], "k": 500}
    requests = [_large(a)] * 6 + [a.request("POST", "/concepts", json.dumps(body).encode())]
    a.begin()
    for number in range(28):
        with a.counted():
            sock = await a.connect(SMALL)
            a.held.append(sock)
            await a.send(sock, requests[number % len(requests)])
    while a.going:
        for sock in list(a.held):
            try:
                read = len(sock.recv(1))
            except BlockingIOError:
                continue
            except OSError:
                read = 0
            a.got["bytes read" if read else "closed"] += 1
            if not read:
                a.held.remove(sock)
        await asyncio.sleep(1)


@attack(needs_token=True)
async def unread_originals(a: Attacker) -> None:
    """400 clients ask for original image files of some MB and read nothing."""
    await _unread(a, [a.request("GET", f"/rows/{row}/image") for row in range(8)], round(400 * a.scale))


@attack(needs_token=True)
async def unread_metadata(a: Attacker) -> None:
    """200 clients ask clip-retrieval's /metadata for 10,000 rows each and read nothing."""
    body = json.dumps({"ids": list(range(10_000))}).encode()
    await _unread(a, [a.request("POST", "/metadata", body)], round(200 * a.scale))


@attack()
async def unread_pages(a: Attacker) -> None:
    """512 connections ask for a file of the page 15 times each, without a token, and read nothing."""
    request = a.request("GET", "/page/page.css", token=False).replace(b"Connection: close\r\n", b"")
    await _unread(a, [request * 15], round(512 * a.scale))


@attack(needs_token=True)
async def metadata_of_one_row(a: Attacker) -> None:
    """Asks clip-retrieval's /metadata for one row 10,000 times, in each of 16 requests at once."""
    body = json.dumps({"ids": [3] * 10_000}).encode()
    a.begin()
    await a.keep_asking(16, [a.request("POST", "/metadata", body)])


@attack(needs_token=True)
async def unread_pipelined(a: Attacker) -> None:
    """32 connections with 200 pipelined searches each, whose answers are not read."""
    body = json.dumps({"queries": [{"row_id": 1}], "k": 1_000, "columns": ALL_COLUMNS}).encode()
    request = a.request("POST", "/search", body).replace(b"Connection: close\r\n", b"")
    await _unread(a, [request * 200], 32)


def _large(a: Attacker) -> bytes:
    """A search with as many results as one may ask for."""
    queries = [{"row_id": row} for row in range(100)]
    body = json.dumps({"queries": queries, "k": 1_000, "columns": ALL_COLUMNS}).encode()
    return a.request("POST", "/search", body)


async def _unread(a: Attacker, requests: list[bytes], clients: int) -> None:
    a.begin()
    for number in range(clients):
        with a.counted():
            sock = await a.connect(SMALL)
            a.held.append(sock)
            await a.send(sock, requests[number % len(requests)])
    a.said.append(f"{len(a.held)} requests sent")
    await a.rest()
