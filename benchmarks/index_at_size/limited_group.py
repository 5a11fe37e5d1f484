"""A control group of Linux whose processes get no more memory than a limit, pages of files included."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["LimitedGroup", "forget_pages", "limited_group"]

_ROOT = Path("/sys/fs/cgroup")


class LimitedGroup:
    """The group's folder; `version_2`: of cgroup v2, otherwise of the memory controller of v1."""

    def __init__(self, folder: Path, version_2: bool) -> None:
        self.folder, self.version_2 = folder, version_2

    def command(self, command: list[str]) -> list[str]:
        """A command that enters the group and becomes `command`."""
        enter = f"echo $$ > {shlex.quote(str(self.folder / 'cgroup.procs'))}"
        return ["sh", "-c", f"{enter} && exec {shlex.join(command)}"]

    def limit(self, most: int) -> None:
        """Set the limit, bytes, without swap."""
        if self.version_2:
            (self.folder / "memory.max").write_text(str(most))
            (self.folder / "memory.swap.max").write_text("0")
        else:
            (self.folder / "memory.limit_in_bytes").write_text(str(most))

    def peak(self) -> int:
        """The most memory, bytes, that the group has had since the last call."""
        file = self.folder / ("memory.peak" if self.version_2 else "memory.max_usage_in_bytes")
        found = int(file.read_text())
        file.write_text("0")
        return found


@contextmanager
def limited_group(most: int) -> Iterator[LimitedGroup]:
    """A new group below this process's own, removed at the end; `most`: bytes."""
    lines = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    version_2 = "memory" not in lines
    own = _ROOT / lines[""].strip("/") if version_2 else _ROOT / "memory" / lines["memory"].strip("/")
    group = LimitedGroup(own / f"clipmine-{os.getpid()}", version_2)
    group.folder.mkdir()
    try:
        group.limit(most)
        yield group
    finally:
        group.folder.rmdir()


def forget_pages(folder: Path) -> None:
    """Drop the pages of a folder's files that the system keeps in memory, so that the next reader pays for them."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
