"""A check, before the first minute of a job is spent, that all workers see the folder where they exchange files.

The driver writes a token, every worker reads it and writes a file of its own, and the driver looks for those. A folder
on one machine's disk, an object store without credentials on a worker, or memory:// fails here, not after hours.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass

from index.errors import BadInput
from index.files import exists, is_local, join, make_folder, read_bytes, write_atomic
from index.outputs import remove_folder
from jobs.executors.execute import execute

__all__ = ["check_shared_storage"]

# Items of the check. Workers take them in turn, so with fewer workers each of them is checked at least once.
_ITEMS = 64


@dataclass(frozen=True)
class _Probe:
    """What the workers look for: `token` in the file `driver` of the folder, written by the machine `host`."""

    folder: str
    token: str
    host: str


def check_shared_storage(out: str, executor: str, workers: int | None) -> None:
    """Check that the workers of `executor` and this process see each other's files under `out`.

    Local processes share a local folder, so there is nothing to check then. Raises BadInput, which names the machine.
    """
    if executor == "local" and is_local(out):
        return
    probe = _Probe(join(out, "work", "shared"), secrets.token_hex(16), socket.gethostname())
    make_folder(probe.folder)
    write_atomic(join(probe.folder, "driver"), probe.token)
    items = list(range(max(_ITEMS, 2 * (workers or 0)) if executor != "local" else 2 * (workers or 1)))
    hosts = execute(executor, look, items, probe, workers=workers, label="check shared storage")
    for number, host in zip(items, hosts, strict=True):
        if not exists(_answer(probe, number)):
            raise BadInput(_said(out, probe.host, host))
    remove_folder(probe.folder)


def look(number: int, probe: _Probe) -> str:
    """Read the driver's token and write an answer; returns this machine's name."""
    here = socket.gethostname()
    token = join(probe.folder, "driver")
    if not exists(token) or read_bytes(token).decode() != probe.token:
        raise BadInput(_said(probe.folder.rpartition("/work/")[0], here, probe.host))
    write_atomic(_answer(probe, number), here)
    return here


def _answer(probe: _Probe, number: int) -> str:
    return join(probe.folder, f"worker_{number:05d}")


def _said(out: str, reader: str, writer: str) -> str:
    return (
        f"{out}: {reader} does not see what {writer} writes there; choose a folder for --out that all machines share "
        "(a network file system or an object store), or --executor local with a local folder"
    )
