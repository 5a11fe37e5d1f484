"""The Ray cluster that a download joins, and whether it answers. Ray itself is imported by the process that uses it."""

from __future__ import annotations

import os
import socket

from index.errors import BadInput

__all__ = ["check_answers", "ray_address"]

ANSWER_SECONDS = 10.0  # how long the cluster may take to accept a connection


def ray_address() -> str:
    """The Ray cluster that RAY_ADDRESS names, or "local" for a new one.

    Without an address, Ray would join any cluster that it finds on this machine, and wait for minutes for one that has
    died and left its address behind.
    """
    return os.environ.get("RAY_ADDRESS") or "local"


def check_answers(address: str) -> None:
    """BadInput when nothing listens at HOST:PORT or ray://HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():  # "auto" and "local", which Ray resolves, or an address that it rejects itself
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise BadInput(f"RAY_ADDRESS {address}: no Ray cluster answers there ({error})") from error
