"""Attacks by requests that are all allowed and dear: deep, exact, many, hung up; with a token."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from typing import Any

from benchmarks.service_attack.attacker import Attacker, attack
from benchmarks.service_attack.reading_attacks import ALL_COLUMNS


@attack(needs_token=True)
async def permuted_columns(a: Attacker) -> None:
    """Searches with k 1,000 whose columns come in another order each time, some twice, so that the cache grows."""
    draw = random.Random(0)

    def request() -> bytes:
        columns = draw.sample(ALL_COLUMNS, len(ALL_COLUMNS))
        if draw.random() < 0.2:
            columns += draw.choices(ALL_COLUMNS, k=38)
        return _search(a, queries=[{"row_id": draw.randrange(20_000)}], k=1_000, columns=columns)

    requests = [request() for _ in range(500)]
    a.begin()
    await a.keep_asking(8, requests)


@attack(needs_token=True)
async def permuted_columns_of_rows(a: Attacker) -> None:
    """GET /rows/N with the columns in another order each time."""
    orders = itertools.permutations(ALL_COLUMNS)
    requests = [a.request("GET", f"/rows/7?columns={','.join(next(orders))}") for _ in range(20_000)]
    a.begin()
    await a.keep_asking(32, requests)


@attack(needs_token=True)
async def mark_duplicates(a: Attacker) -> None:
    """100 queries with k 1,000 and mark_duplicates 0: all results are near-duplicates of each other."""
    queries = [{"row_id": row} for row in range(100)]
    a.begin()
    await a.keep_asking(6, [_search(a, queries=queries, k=1_000, mark_duplicates=-1, columns=[])])


@attack(needs_token=True)
async def near_duplicates(a: Attacker) -> None:
    """Filters near_duplicates with k 1,000: one query that looks at 10,000 rows, and 100 queries."""
    filters = {"near_duplicates": 1.0}
    one = _search(a, queries=[{"row_id": 1}], k=1_000, filters=filters, columns=[])
    few = _search(a, queries=[{"row_id": 1}], k=1_000, filters={"near_duplicates": -1.0}, columns=[])
    many = _search(a, queries=[{"row_id": row} for row in range(100)], k=1_000, filters=filters, columns=[])
    a.begin()
    await a.keep_asking(8, [one, few, many])


@attack(needs_token=True)
async def fruitless_filters(a: Attacker) -> None:
    """20 queries with filters that no row meets, so that 200,000 rows are looked at."""
    filters = {"columns": [{"column": "caption", "op": "contains", "value": "no such text"}]}
    queries = [{"row_id": row * 997} for row in range(20)]
    a.begin()
    await a.keep_asking(8, [_search(a, queries=queries, k=100, filters=filters)])


@attack(needs_token=True)
async def exact_scans(a: Attacker) -> None:
    """200 connections with exact scans, each with another k, so that none is answered together with others."""
    requests = [_search(a, queries=[{"row_id": k}], k=k, method="exact", columns=[]) for k in range(100, 300)]
    a.begin()
    await a.keep_asking(200, requests)


@attack(needs_token=True)
async def hung_up_texts(a: Attacker) -> None:
    """30 clients send 512 texts each and hang up, again and again."""
    requests = [_search(a, queries=[{"text": f"a {c} photo of {n}"} for n in range(512)], k=1) for c in range(8)]
    await _hang_up(a, requests, 30, 0.5)


@attack(needs_token=True)
async def hung_up_searches(a: Attacker) -> None:
    """64 clients send 100 queries with k 1,000 and all columns, and hang up at once."""
    queries = [{"row_id": row} for row in range(100)]
    await _hang_up(a, [_search(a, queries=queries, k=1_000, columns=ALL_COLUMNS)], 64, 0.05)


@attack(needs_token=True)
async def full_queue(a: Attacker) -> None:
    """4 clients ask for 512 texts each, so that the queue of 1,024 queries is always full."""
    requests = [_search(a, queries=[{"text": f"number {n} of {c}"} for n in range(512)], k=1) for c in range(4)]
    a.begin()
    await a.keep_asking(4, requests)


@attack(needs_token=True)
async def long_texts(a: Attacker) -> None:
    """512 texts of 10,000 characters, without spaces and of many scripts."""
    draw = random.Random(0)
    letters = "abcdefghij\u4e00\u0e01\u0905\u1f600'\u200d\u0301"
    texts = ["".join(draw.choices(letters, k=10_000)) for _ in range(64)]
    queries = [{"text": texts[number % 64] + str(number)} for number in range(512)]
    queries = [{"text": query["text"][-10_000:]} for query in queries]
    a.begin()
    await a.keep_asking(3, [_search(a, queries=queries, k=1)])


@attack(needs_token=True)
async def knn_service(a: Attacker) -> None:
    """clip-retrieval's route with 1,000 images, deduplicate and thumbnails of rows without a URL."""
    body = {"text": "a photo", "num_images": 1_000_000, "num_result_ids": 1_000_000, "deduplicate": True}
    requests = [a.request("POST", "/knn-service", json.dumps({**body, "text": f"a {n}"}).encode()) for n in range(16)]
    a.begin()
    await a.keep_asking(24, requests)


@attack(needs_token=True)
async def metadata_again(a: Attacker) -> None:
    """16 clients ask for the metadata of 10,000 rows again and again."""
    bodies = [json.dumps({"ids": list(range(first, first + 10_000))}).encode() for first in range(0, 10_000, 1_000)]
    a.begin()
    await a.keep_asking(16, [a.request("POST", "/metadata", body) for body in bodies])


@attack(needs_token=True)
async def thousand_at_once(a: Attacker) -> None:
    """1,000 connections that each send one search, all at once, in each second."""
    requests = [_search(a, queries=[{"text": f"a thing {n}"}]) for n in range(1_000)]
    a.begin()
    while a.going:
        wave = asyncio.gather(*(a.ask(request) for request in requests[: round(1_000 * a.scale)]))
        await asyncio.gather(wave, asyncio.sleep(1))


@attack(needs_token=True)
async def documentation(a: Attacker) -> None:
    """32 clients ask for /openapi.json, /docs, /metrics and /indexes."""
    paths = ("/openapi.json", "/docs", "/metrics", "/indexes", "/indices-list")
    a.begin()
    await a.keep_asking(32, [a.request("GET", path) for path in paths])


@attack(needs_token=True)
async def pairs_routes(a: Attacker) -> None:
    """The routes of image sets: pages by a text that is in no set, and decisions and corrections of 8 MB."""
    numbers = b'{"set_id":[' + b"1," * (4 << 20) + b"1]}"
    requests = [
        a.request("GET", "/pairs?limit=200&text=no+such+text"),
        a.request("POST", "/pairs/decision", numbers),
        a.request("POST", "/pairs/annotation", numbers),
    ]
    a.begin()
    await a.keep_asking(8, requests)


def _search(a: Attacker, **fields: Any) -> bytes:
    return a.request("POST", "/search", json.dumps(fields).encode())


async def _hang_up(a: Attacker, requests: list[bytes], clients: int, seconds: float) -> None:
    a.begin()

    async def once(number: int) -> None:
        with a.counted():
            sock = await a.connect()
            try:
                await a.send(sock, requests[number % len(requests)])
                await asyncio.sleep(seconds)
                a.got["hung up"] += 1
            finally:
                sock.close()

    await a.crowd(clients, once)


@attack(needs_token=True)
async def nested_entities(a: Attacker) -> None:
    """4 clients search with 512 texts of nested HTML entities, whose cleaning takes the square of their length."""
    body = json.dumps({"queries": [{"text": "&" + "amp;" * 2_499}] * 512, "k": 1}).encode()
    a.begin()
    await a.keep_asking(4, [a.request("POST", "/search", body)])
