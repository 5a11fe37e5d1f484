"""A check, before the first items of a job, that all workers see the folder where they exchange files.

The driver writes a token, every worker reads it and writes a file of its own, and the driver looks for those. A folder
on one machine's disk, an object store without credentials on a worker, or memory:// fails here, not after hours. So do
machines that lack a package of ours; those that have another version of one are named.
"""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from index.errors import BadInput, ClipmineError, RemoteDown
from index.files import exists, is_local, join, list_names, make_folder, read_bytes, write_atomic
from index.outputs import remove_folder
from jobs.executors.execute import execute
from jobs.executors.versions import compare_versions, versions

__all__ = ["SharedFolder"]

# Items of the check on Spark, whose tasks cannot be sent to a machine. Workers take them in turn, so with fewer workers
# each of them is checked at least once.
_ITEMS = 64


@dataclass(frozen=True)
class _Probe:
    """What the workers look for: `token` in the file `driver` of a folder in `out`, written by the machine `host`."""

    out: str
    token: str
    host: str

    @property
    def folder(self) -> str:
        return join(self.out, f"shared-check-{self.token[:8]}")


@dataclass(frozen=True)
class _Seen:
    """A machine that sees the folder, and the versions of its packages."""

    host: str
    versions: dict[str, str]


class SharedFolder:
    """A folder in which the workers of a job exchange files with each other and with this process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._checked: set[str] = set()

    def check(self, executor: str, workers: int | None) -> None:
        """Check once that the workers of `executor` and this process see each other's files in the folder.

        Local processes share a local folder, so there is nothing to check then. Raises BadInput, which names the
        machine.
        """
        if executor in self._checked or (executor == "local" and is_local(self.path)):
            return
        _check(self.path, executor, workers)
        self._checked.add(executor)


def _check(out: str, executor: str, workers: int | None) -> None:
    probe = _Probe(out, secrets.token_hex(16), socket.gethostname())
    make_folder(probe.folder)
    try:
        write_atomic(join(probe.folder, "driver"), probe.token)
        found = _ask(probe, executor, workers)
        answers = set(list_names(probe.folder))
        for number, seen in enumerate(found):
            if _answer_name(number) not in answers:
                raise BadInput(_said(out, probe.host, seen.host))
    except RemoteDown:  # neither could anything be deleted
        raise
    except ClipmineError:
        remove_folder(probe.folder)
        raise
    remove_folder(probe.folder)
    for line in compare_versions(versions(), {seen.host: seen.versions for seen in found}):
        print(f"clipmine: {line}", file=sys.stderr, flush=True)


def _ask(probe: _Probe, executor: str, workers: int | None) -> Sequence[_Seen]:
    if executor == "ray":
        from jobs.executors.on_ray import start_ray
        from jobs.executors.ray_pool import on_each_node

        start_ray()
        return on_each_node(look, probe, "check shared storage")
    items = list(range(max(_ITEMS, 2 * (workers or 0)) if executor == "spark" else 2 * (workers or 1)))
    return execute(executor, look, items, probe, workers=workers, shared=None, label="check shared storage")


def look(number: int, probe: _Probe) -> _Seen:
    """Read the driver's token and write an answer; returns this machine's name."""
    here = socket.gethostname()
    token = join(probe.folder, "driver")
    if not exists(token) or read_bytes(token).decode() != probe.token:
        raise BadInput(_said(probe.out, here, probe.host))
    write_atomic(join(probe.folder, _answer_name(number)), here)
    return _Seen(here, versions())


def _answer_name(number: int) -> str:
    return f"worker_{number:05d}"


def _said(out: str, reader: str, writer: str) -> str:
    return (
        f"{out}: {reader} does not see what {writer} writes there; choose a folder that all machines share "
        "(a network file system or an object store), or --executor local with a local folder"
    )
