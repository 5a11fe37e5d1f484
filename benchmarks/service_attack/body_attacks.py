"""Attacks by request bodies, with a token: large, odd, never ending, or full of errors."""

from __future__ import annotations

import base64
import itertools
import json
import os

from benchmarks.service_attack.attacker import Attacker, attack

MB = 1 << 20
MOST = 32 * MB  # what the service takes by default


@attack(needs_token=True)
async def ones_for_names(a: Attacker) -> None:
    """/concepts with 2 MB of 1s where names are due: each is an error."""
    body = b'{"concepts":[' + b"1," * 999_999 + b"1]}"
    a.begin()
    await a.keep_asking(3, [a.request("POST", "/concepts", body)])


@attack(needs_token=True)
async def small_bodies_of_errors(a: Attacker) -> None:
    """Bodies of 60 kB, which are read on the event loop, with one error in two or three bytes."""
    bodies = [
        b'{"concepts":[' + b"1," * 30_000 + b"1]}",
        _filter(b"[" + b"[]," * 20_000 + b"[]]"),
        b'{"queries":[' + b"{}," * 9_999 + b"{}]}",
    ]
    paths = ("/concepts", "/search", "/search")
    requests = [a.request("POST", path, body) for path, body in zip(paths, bodies, strict=True)]
    a.begin()
    await a.keep_asking(4, requests)


@attack(needs_token=True)
async def empty_queries(a: Attacker) -> None:
    """/search with 0.3 MB of empty queries."""
    body = b'{"queries":[' + b"{}," * 100_000 + b"{}]}"
    few = b'{"queries":[' + b"{}," * 9_999 + b"{}]}"
    a.begin()
    await a.keep_asking(4, [a.request("POST", "/search", body), a.request("POST", "/search", few)])


@attack(needs_token=True)
async def only_numbers(a: Attacker) -> None:
    """JSON of 32 MB that is only numbers, for /search and /concepts."""
    body = b"[" + b"1," * (MOST // 2 - 2) + b"1]"
    requests = [a.request("POST", path, body) for path in ("/search", "/concepts", "/knn-service")]
    a.begin()
    await a.keep_asking(4, requests)


@attack(needs_token=True)
async def only_brackets(a: Attacker) -> None:
    """32 MB of opening brackets."""
    a.begin()
    await a.keep_asking(4, [a.request("POST", "/search", b"[" * MOST)])


@attack(needs_token=True)
async def deep_nesting(a: Attacker) -> None:
    """Objects in objects, 2 million deep, where a filter's value is due; and lists nested 190 deep, 50,000 times."""
    deep = _filter(b'{"a":' * 2_000_000 + b"1" + b"}" * 2_000_000)
    lists = _filter(b"[" + b",".join([b"[" * 190 + b"]" * 190] * 10_000) + b"]")
    a.begin()
    await a.keep_asking(4, [a.request("POST", "/search", deep), a.request("POST", "/search", lists)])


@attack(needs_token=True)
async def unknown_fields(a: Attacker) -> None:
    """/search with 300,000 fields that it does not know: each is an error."""
    body = b'{"queries":[{"row_id":1}],' + b",".join(b'"f%d":1' % number for number in range(300_000)) + b"}"
    a.begin()
    await a.keep_asking(4, [a.request("POST", "/search", body)])


@attack(needs_token=True)
async def wrong_filter_values(a: Attacker) -> None:
    """A filter's list with 500,000 lists in it: four errors each."""
    a.begin()
    await a.keep_asking(2, [a.request("POST", "/search", _filter(b"[" + b"[]," * 499_999 + b"[]]"))])


@attack(needs_token=True)
async def filter_in(a: Attacker) -> None:
    """20 filters `in` with 100,000 values each, which meet no row, so that the search looks at 10,000 rows."""
    values = b"[" + b",".join(b'"v%d"' % number for number in range(100_000)) + b"]"
    one = b'{"column":"key","op":"in","value":' + values + b"}"
    body = b'{"queries":[{"row_id":1}],"k":1000,"filters":{"columns":[' + one + b"]}}"
    twenty = b'{"queries":[{"row_id":1}],"k":1000,"filters":{"columns":[' + b",".join([one] * 20) + b"]}}"
    a.begin()
    await a.keep_asking(4, [a.request("POST", "/search", body), a.request("POST", "/search", twenty)])


@attack(needs_token=True)
async def filter_contains(a: Attacker) -> None:
    """A filter `contains` with a text of 10 MB."""
    text = ("Straße " * (10 * MB // 8)).encode()
    body = b'{"queries":[{"row_id":1}],"k":1000,"filters":{"columns":[{"column":"caption","op":"contains","value":"'
    a.begin()
    await a.keep_asking(4, [a.request("POST", "/search", body + text + b'"}]}}')])


@attack(needs_token=True)
async def exclude_lists(a: Attacker) -> None:
    """32 clients search with 100,000 row ids to exclude, each list another one."""
    rows = [number * 7 % 20_000 for number in range(100_000)]
    bodies = [
        json.dumps({"queries": [{"row_id": 1}], "k": 10 + number, "filters": {"exclude": rows[number:]}}).encode()
        for number in range(8)
    ]
    a.begin()
    await a.keep_asking(32, [a.request("POST", "/search", body) for body in bodies])


@attack(needs_token=True)
async def base64_of_megabytes(a: Attacker) -> None:
    """Vectors and images in base64 of 20 MB, which are no vector and no image."""
    text = base64.b64encode(os.urandom(MB)).decode() * 15
    bodies = [json.dumps({"queries": [{name: text}]}).encode() for name in ("embedding_b64", "image")]
    requests = [a.request("POST", "/search", body) for body in bodies]
    requests.append(a.request("POST", "/knn-service", json.dumps({"image": text}).encode()))
    a.begin()
    await a.keep_asking(6, requests)


@attack(needs_token=True)
async def vectors_of_millions(a: Attacker) -> None:
    """clip-retrieval's route with a vector of 4 million numbers, and searches with 512 vectors of 65,536."""
    numbers = b"0.1," * 3_999_999 + b"1"
    many = b'{"queries":[' + b",".join([b'{"embedding":[' + b"0," * 65_535 + b"1]}"] * 64) + b"]}"
    requests = [
        a.request("POST", "/knn-service", b'{"embedding_input":[' + numbers + b"]}"),
        a.request("POST", "/search", many),
    ]
    a.begin()
    await a.keep_asking(4, requests)


@attack(needs_token=True)
async def query_strings(a: Attacker) -> None:
    """Query strings of 2 MB, and of 30 kB, with as many parameters as fit."""
    body = b'{"queries":[{"row_id":1}]}'
    requests = [a.request("POST", "/search?" + "a&" * (size // 2), body) for size in (2 * MB, 30_000)]
    requests.append(a.request("GET", "/rows/1?columns=" + ",".join(["key"] * 400)))
    a.begin()
    await a.keep_asking(8, requests)


@attack(needs_token=True)
async def announced_bodies(a: Attacker) -> None:
    """200 connections announce bodies of 32 MB and send none of it."""
    head = a.request("POST", "/search").replace(b"\r\n\r\n", f"\r\nContent-Length: {MOST}\r\n\r\n".encode())
    a.begin()
    await a.hold(200, head)
    await a.rest()


@attack(needs_token=True)
async def stalled_bodies(a: Attacker) -> None:
    """20 connections send all but one byte of a body of 32 MB, and then nothing."""
    head = a.request("POST", "/search").replace(b"\r\n\r\n", f"\r\nContent-Length: {MOST}\r\n\r\n".encode())
    piece = b"1," * 32_768
    a.begin()

    async def once(_: int) -> None:
        with a.counted():
            sock = await a.connect()
            try:
                pieces = itertools.repeat(piece, MOST // len(piece) - 1)
                await a.send_all(sock, itertools.chain([head], pieces, [piece[:-1]]))
                await a.status(sock)
            finally:
                sock.close()

    await a.crowd(20, once)


@attack(needs_token=True)
async def slow_bodies(a: Attacker) -> None:
    """300 connections send a body a byte a second."""
    head = a.request("POST", "/search").replace(b"\r\n\r\n", b"\r\nContent-Length: 1000000\r\n\r\n")
    a.begin()
    await a.hold(300, head)
    from benchmarks.service_attack.head_attacks import drip

    await drip(a)


@attack(needs_token=True)
async def endless_chunks(a: Attacker) -> None:
    """8 connections send chunks of a body that does not end: 64 kB each, and of one byte each."""
    head = a.request("POST", "/search", token=True).replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    a.begin()

    async def once(number: int) -> None:
        piece = b"1\r\n1\r\n" * 10_000 if number % 2 else b"10000\r\n" + b"1" * 65_536 + b"\r\n"
        with a.counted():
            sock = await a.connect()
            try:
                await a.send_all(sock, itertools.chain([head], itertools.repeat(piece, 40 * MB // len(piece))))
                await a.status(sock)
            finally:
                sock.close()

    await a.crowd(8, once)


def _filter(value: bytes) -> bytes:
    """A search whose filter has this JSON as its value."""
    start = b'{"queries":[{"row_id":1}],"filters":{"columns":[{"column":"key","op":"in","value":'
    return start + value + b"}]}}"
