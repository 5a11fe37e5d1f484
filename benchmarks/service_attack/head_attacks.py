"""Attacks by request heads, without a token: endless or odd lines, URLs, chunks, hosts."""

from __future__ import annotations

import asyncio
import itertools

from benchmarks.service_attack.attacker import Attacker, attack

MB = 1 << 20
ENDLESS = 40 * MB  # bytes of one head; a head of a browser has some 2 kB


@attack()
async def header_lines(a: Attacker) -> None:
    """8 connections send 40 MB of short header lines each."""
    lines = b"".join(b"X-%07d: %s\r\n" % (number, b"v" * 20) for number in range(1_700))
    a.begin()

    async def once(_: int) -> None:
        await _stream(a, b"GET /healthz HTTP/1.1\r\nHost: a\r\n", lines, ENDLESS)

    await a.crowd(8, once)


@attack()
async def header_value(a: Attacker) -> None:
    """8 connections send one header value of 40 MB each."""
    a.begin()

    async def once(_: int) -> None:
        await _stream(a, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: ", b"v" * 65_536, ENDLESS)

    await a.crowd(8, once)


@attack()
async def long_url(a: Attacker) -> None:
    """8 connections ask for a URL of 40 MB each."""
    a.begin()

    async def once(_: int) -> None:
        await _stream(a, b"GET /", b"u" * 65_536, ENDLESS)

    await a.crowd(8, once)


@attack()
async def etag_list(a: Attacker) -> None:
    """Asks for the page with an If-None-Match of 16 MB of commas, or as many as a head may have."""
    head = f"GET / HTTP/1.1\r\nHost: {a.port}\r\nConnection: close\r\nIf-None-Match: ".encode()
    requests = [head + b"," * size + b"\r\n\r\n" for size in (16 * MB, 30_000)]
    a.begin()
    await a.keep_asking(4, requests)


@attack()
async def echoed_names(a: Attacker) -> None:
    """Asks for files of the page that are not there, by names of 1 MB and of 30 kB, which the error repeats."""
    requests = [a.request("GET", f"/page/{'n' * size}", token=False) for size in (MB, 30_000)]
    a.begin()
    await a.keep_asking(16, requests)


@attack()
async def refused_bodies(a: Attacker) -> None:
    """8 connections send bodies of 400 MB, announced or in chunks, without a token, and with OPTIONS."""
    piece = b"10000\r\n" + b"b" * 65_536 + b"\r\n"
    announced = b"POST /search HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n"
    starts = [_chunked("/search"), announced, _chunked("/search").replace(b"POST", b"OPTIONS"), _chunked("/readyz")]
    a.begin()

    async def once(number: int) -> None:
        await _stream(a, starts[number % 4], piece, 400 * MB)

    await a.crowd(8, once)


@attack()
async def chunk_extensions(a: Attacker) -> None:
    """A chunk's size is followed by an extension that does not end."""
    a.begin()

    async def once(_: int) -> None:
        await _stream(a, _chunked("/healthz") + b"1;name=", b"e" * 65_536, ENDLESS)

    await a.crowd(8, once)


@attack()
async def chunk_sizes(a: Attacker) -> None:
    """Chunks of one byte, each with a size line of 60 zeros; and sizes beyond 64 bits."""
    line = (b"0" * 60 + b"1\r\nx\r\n") * 1_000
    a.begin()

    async def once(number: int) -> None:
        if number % 2:
            await _stream(a, _chunked("/healthz"), line, ENDLESS)
        else:
            await a.ask(_chunked("/healthz") + b"f" * 40 + b"\r\n")

    await a.crowd(8, once)


@attack()
async def trailers(a: Attacker) -> None:
    """A chunked body of no bytes is followed by 40 MB of trailers."""
    lines = b"".join(b"T-%07d: %s\r\n" % (number, b"v" * 20) for number in range(1_700))
    a.begin()

    async def once(_: int) -> None:
        await _stream(a, _chunked("/healthz") + b"0\r\n", lines, ENDLESS)

    await a.crowd(8, once)


@attack()
async def slow_heads(a: Attacker) -> None:
    """500 connections send their head a byte a second."""
    await _slowly(a, round(500 * a.scale), b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ")


@attack()
async def slow_open_bodies(a: Attacker) -> None:
    """500 connections announce a body for a path that needs no token, and send it a byte a second."""
    await _slowly(a, round(500 * a.scale), b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")


@attack()
async def odd_hosts(a: Attacker) -> None:
    """Host headers of others (evil.example, none, two of them) on paths that may be redirected."""
    a.begin()
    paths = itertools.cycle(["/page/main.js/", "/page/pairs", "/healthz/", "//evil.example/page/x", "/", "/page//"])
    hosts = itertools.cycle(["Host: evil.example\r\n", "", "Host: a\r\nHost: evil.example\r\n", "Host: a b/c\r\n"])

    async def once(_: int) -> None:
        path, host = next(paths), next(hosts)
        with a.counted():
            sock = await a.connect()
            try:
                await a.send(sock, f"GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n".encode())
                answer = (await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 65_536), 5)).decode(
                    "latin-1"
                )
                a.got[answer.split(" ")[1] if answer.startswith("HTTP/") else "no answer"] += 1
                where = [
                    line for line in answer.split("\r\n\r\n")[0].splitlines() if line.lower().startswith("location")
                ]
                if where and "evil.example" in where[0]:
                    a.got["REDIRECTED to evil.example"] += 1
                    a.said[:] = [f"BAD: GET {path} -> {where[0]}"]
            finally:
                sock.close()
        await asyncio.sleep(0.005)

    await a.crowd(4, once)


@attack()
async def http_1_0(a: Attacker) -> None:
    """HTTP/1.0 requests, with and without keep-alive, without Host, and HTTP/0.9 and 2.0 prefaces."""
    requests = [
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /readyz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2 + b"GET / HTTP/1.0\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
    ]
    a.begin()
    await a.keep_asking(8, requests)


@attack()
async def unauthorised(a: Attacker) -> None:
    """64 clients ask without a token and with wrong ones, as fast as they can."""
    requests = [
        a.request("POST", "/search", b'{"queries":[{"row_id":1}]}', token=False),
        a.request("GET", "/indexes", token=False, more=["Authorization: Bearer wrong"]),
        a.request("POST", "/concepts", b"x" * 100_000, token=False, more=["Authorization: Bearer " + "w" * 8_000]),
        a.request("GET", "/metrics", token=False, more=["Authorization: Basic YTpi"]),
    ]
    a.begin()
    await a.keep_asking(64, requests)


def _chunked(path: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


async def _stream(a: Attacker, head: bytes, piece: bytes, size: int) -> None:
    """Send `head`, then `piece` again and again up to `size` bytes, and count what comes back."""
    with a.counted():
        sock = await a.connect()
        try:
            await a.send_all(sock, itertools.chain([head], itertools.repeat(piece, size // len(piece))))
            await a.status(sock, drain=False)
        finally:
            sock.close()


async def _slowly(a: Attacker, count: int, head: bytes) -> None:
    a.begin()
    await a.hold(count, head)
    await drip(a)


async def drip(a: Attacker) -> None:
    """Send a byte a second on each held connection until the attack's end."""
    while a.going:
        for sock in list(a.held):
            try:
                sock.send(b"x")
            except BlockingIOError:
                pass
            except OSError:
                a.got["closed"] += 1
                a.held.remove(sock)
                sock.close()
        await asyncio.sleep(1)
    a.look()
