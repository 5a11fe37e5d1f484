"""One attack in a process of its own.

Run by `benchmarks.service_attack`, not by hand: run_attack NAME PORT SECONDS TOKEN SCALE. It prints a line `begin` when
its requests and files are made, and at its end a JSON object: what it got, by status, and what it has to say.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time

from benchmarks.service_attack.attacker import ATTACKS, Attack, Attacker

__all__ = ["load_attacks"]


def load_attacks() -> dict[str, Attack]:
    """All attacks by name, in the order of their files. Importing a file registers its attacks."""
    from benchmarks.service_attack import (  # noqa: F401
        body_attacks,
        concept_attacks,
        connection_attacks,
        head_attacks,
        image_attacks,
        reading_attacks,
        search_attacks,
    )

    order = ("head", "connection", "body", "concept", "image", "reading", "search")
    kinds = {f"{__package__}.{kind}_attacks": place for place, kind in enumerate(order)}
    return dict(sorted(ATTACKS.items(), key=lambda item: kinds[item[1].run.__module__]))


async def _run(chosen: Attack, attacker: Attacker) -> None:
    task = asyncio.ensure_future(chosen.run(attacker))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    while not task.done():
        await asyncio.wait([task], timeout=0.2)
        if time.monotonic() > attacker.end + 1:
            task.cancel()
    if not task.cancelled() and (error := task.exception()) is not None:
        attacker.said.append(f"{type(error).__name__}: {error}"[:200])


def main() -> None:
    name, port, seconds, token, scale = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.nice(5)  # the service, and what measures it, come first
    attacker = Attacker(port, seconds, token, float(scale))
    asyncio.run(_run(load_attacks()[name], attacker))
    print(json.dumps({"got": dict(attacker.got), "said": attacker.said}), flush=True)
    os._exit(0)  # thousands of sockets close at once


if __name__ == "__main__":
    main()
