"""Attacks by connections, without a token: many, silent, pipelined, broken off."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct

from benchmarks.service_attack.attacker import Attacker, attack

READY, HEALTH = (f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in ("readyz", "healthz"))


@attack()
async def silent_connections(a: Attacker) -> None:
    """300 connections are opened and send nothing."""
    a.begin()
    await a.hold(300)
    await a.rest()


@attack(fds=200)
async def silent_with_200_files(a: Attacker) -> None:
    """300 silent connections to a service that may open 200 files."""
    a.begin()
    await a.hold(300)
    await a.rest()


@attack(fds=200)
async def churn_with_200_files(a: Attacker) -> None:
    """400 clients that connect, wait for a second and connect again, to a service that may open 200 files."""
    a.begin()

    async def once(_: int) -> None:
        with a.counted():
            sock = await a.connect()
            await asyncio.sleep(1)
            sock.close()

    await a.crowd(400, once)


@attack()
async def idle_connections(a: Attacker) -> None:
    """10,000 connections, or as many as this process may open, that send nothing."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100
    count = min(round(10_000 * a.scale), most)
    if most < 10_000:
        a.said.append(f"this process may open {most:,} connections")
    a.begin()
    await a.hold(count)
    await a.rest()


@attack()
async def kept_alive(a: Attacker) -> None:
    """2,000 connections that ask /healthz once and stay open."""
    a.begin()
    await a.hold(round(2_000 * a.scale), HEALTH)
    await a.rest()


@attack()
async def pipelined(a: Attacker) -> None:
    """1,500 connections with 2,000 requests for /readyz and /healthz at once each, whose answers are not read."""
    data = (READY + HEALTH) * 1_000
    a.begin()

    async def once(_: int) -> None:
        with a.counted():
            sock = await a.connect(receive_buffer=4_096)
            a.held.append(sock)
            await a.send(sock, data)
            a.got["sent"] += 1

    count = round(1_500 * a.scale)
    await asyncio.gather(*(once(number) for number in range(count)), return_exceptions=True)
    await a.rest()


@attack()
async def pipelined_and_read(a: Attacker) -> None:
    """64 connections that send 500 requests for /readyz at once and read all answers, again and again."""
    data = READY * 499 + READY.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    a.begin()
    await a.keep_asking(64, [data])


@attack()
async def pipelined_garbage(a: Attacker) -> None:
    """A request, then 1 MB of bytes that are no HTTP, on the same connection."""
    a.begin()
    await a.keep_asking(32, [HEALTH * 3 + b"\x00\xff\x16\x03\x01garbage" * 80_000])


@attack()
async def garbage_after_keep_alive(a: Attacker) -> None:
    """Asks /healthz, reads the answer, then sends garbage on the kept connection."""
    a.begin()

    async def once(_: int) -> None:
        with a.counted():
            sock = await a.connect()
            try:
                await a.send(sock, HEALTH)
                await a.status(sock, drain=False)
                await a.send(sock, b"\x00" * 10_000)
                await a.status(sock)
            finally:
                sock.close()

    await a.crowd(32, once)


@attack()
async def half_closed(a: Attacker) -> None:
    """500 connections send half a head and close their own direction."""
    a.begin()
    await a.hold(round(500 * a.scale), b"GET /healthz HTTP/1.1\r\nHost:")
    for sock in a.held:
        with a.counted():
            sock.shutdown(socket.SHUT_WR)
    await a.rest()


@attack()
async def reset_connections(a: Attacker) -> None:
    """64 clients connect, ask and reset the connection at once."""
    a.begin()

    async def once(_: int) -> None:
        with a.counted():
            sock = await a.connect()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.send(READY)
            sock.close()
            a.got["reset"] += 1
        await asyncio.sleep(0.002)

    await a.crowd(64, once)


@attack()
async def web_sockets(a: Attacker) -> None:
    """Asks to upgrade to a web socket, without a token, on paths that need one."""
    more = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    requests = [
        a.request("GET", path, token=False, more=more).replace(b"Connection: close", b"Connection: Upgrade")
        for path in ("/search", "/", "/concepts")
    ]
    a.begin()

    async def once(number: int) -> None:
        with a.counted():
            sock = await a.connect()
            try:
                await a.send(sock, requests[number % 3])
                await a.status(sock, drain=False)
            finally:
                sock.close()

    await a.crowd(32, once)


@attack()
async def half_open_web_sockets(a: Attacker) -> None:
    """500 connections that ask to upgrade to a web socket with a head that does not end."""
    a.begin()
    head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    await a.hold(round(500 * a.scale), head)
    await a.rest()
