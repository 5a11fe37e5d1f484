"""A lease on a folder, so that one job at a time writes there: on one machine, on a shared disk, in an object store.

    with only_writer("STORE") as lease:
        ...
        lease.check()        # before files are replaced: has another job taken over?

On one machine a lock of the system decides, which ends with its process. Where machines share a folder, or the folder
has no locks, `.writer.json` in it decides: it says who writes, where and since when, and is renewed by a thread. A
lease that has not been renewed for `EXPIRES` seconds belongs to a dead job, and the next one takes it. The clocks of
the machines must agree to within a minute. `index.lease_file` says what decides between two that ask at once.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.errors import ClipmineError, OutputExists
from index.files import is_local, join, local_path, make_folder
from index.lease_file import Held, create, is_decided, read, remove, replace

__all__ = ["EXPIRES", "Lease", "is_held_here", "only_writer"]

# Hidden, so that a folder with them counts as empty; they are there only while a job writes.
_LOCK, _LEASE = ".writer.lock", ".writer.json"
# What locking says where it cannot be done: a read-only folder, where nothing can be written anyhow, or a network file
# system without locks.
_NOT_OURS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_LOCKS = _NOT_OURS | {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}
# Seconds. A job that is alive renews eight times before its lease expires, so a slow disk does not cost it the lease.
EXPIRES, _RENEWED_EVERY = 160.0, 20.0
# Where the storage does not decide between two jobs, both may write their lease; after this time the last one is there
# to read.
_SETTLED = 1.0
_TRIES = 10
# The leases that this process holds: token -> folder. One of its own that is not among them could not be deleted at its
# end.
_held_here: dict[str, str] = {}


class Lease:
    """The right to write in a folder, held until the block of `only_writer` ends."""

    def __init__(self, folder: str, remedy: str) -> None:
        self.folder, self._remedy = folder, remedy
        self._path = join(folder, _LEASE)
        self._token = uuid.uuid4().hex
        self._since = _now()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None  # None where no lease file can be written

    def check(self) -> None:
        """Raise OutputExists when another job holds the lease now, since this one did not renew it in time."""
        if self._thread is None:
            return
        held = read(self._path)
        if not self._is_ours(held):
            by = f"{_describe(held.content)} writes there now" if held else f"{self._path} was deleted"
            raise OutputExists(f"{self.folder}: this job lost its right to write there ({by}); run it again later")

    def _take(self, locked: bool) -> None:
        """Write the lease file. locked: whether this process holds the system's lock of the folder."""
        _held_here[self._token] = self.folder
        took_over = False
        for _ in range(_TRIES):
            if create(self._path, self._content()):
                break
            held = read(self._path)
            if held is None:  # given back just now
                continue
            if not _has_ended(self._path, held.content, locked):
                raise _refusal(self.folder, held.content, self._remedy)
            took_over = replace(self._path, self._content(), held.version)
            if took_over:
                break
        if not (locked or (is_decided(self._path) and not took_over)):
            time.sleep(_SETTLED)
        held = read(self._path)
        if not self._is_ours(held):
            raise _refusal(self.folder, held.content if held else None, self._remedy)

    def _is_ours(self, held: Held | None) -> bool:
        return held is not None and held.content.get("token") == self._token

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def _end(self) -> None:
        _held_here.pop(self._token, None)
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        # The folder was deleted meanwhile, or its storage does not answer: then the lease expires.
        with suppress(OSError, ClipmineError):
            if self._is_ours(read(self._path)):
                remove(self._path)

    def _renew(self) -> None:
        while not self._stop.wait(_RENEWED_EVERY):
            with suppress(Exception):  # a disk or a store that fails now is asked again in time
                held = read(self._path)
                if held is None or not self._is_ours(held) or not replace(self._path, self._content(), held.version):
                    return

    def _content(self) -> bytes:
        plain = {
            "who": _user(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": self._since,
            "renewed": _now(),
            "token": self._token,
        }
        return (json.dumps(plain, indent=1) + "\n").encode()


def is_held_here(folder: str) -> bool:
    """Whether a block of `only_writer` for this folder is open in this process, so that no other job writes there."""
    return folder in _held_here.values()


@contextmanager
def only_writer(folder: str, remedy: str = "wait for it, or choose another --out") -> Iterator[Lease]:
    """While it is open no other job that asks for it writes in `folder`.

    The folder and those above it are made where they are not there, and removed again when nothing was written there.

    remedy: the end of the message that a second writer gets.

    Raises:
        OutputExists: another job is writing there; the message says who, where and since when.
    """
    lease = Lease(folder, remedy)
    if not is_local(folder):
        lease._take(locked=False)
        lease._start()
        try:
            yield lease
        finally:
            lease._end()
        return
    if local_path(folder).is_file():
        yield lease
        return
    own = local_path(folder).absolute()
    new = [each for each in (own, *own.parents) if not each.exists()]
    make_folder(folder)
    path = local_path(folder) / _LOCK
    lock = _lock(path, folder, remedy)
    try:
        with _writable():
            lease._take(locked=lock is not None)
            lease._start()
        yield lease
    finally:
        lease._end()
        if lock is not None:
            with suppress(OSError):  # the folder was deleted meanwhile, or is not ours to write in any more
                path.unlink()
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)
        with suppress(OSError):  # something was written there
            for each in new:
                each.rmdir()


@contextmanager
def _writable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise


def _lock(path: Path, folder: str, remedy: str) -> int | None:
    """The descriptor of the locked file; None where there are no locks."""
    while True:
        try:
            held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return None
            raise
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The writer before us may have deleted the file between our opening and our locking it.
            if path.stat().st_ino == os.fstat(held).st_ino:
                return held
        except FileNotFoundError:
            pass
        except BlockingIOError as error:
            os.close(held)
            held_now = read(join(folder, _LEASE))
            raise _refusal(folder, held_now.content if held_now else None, remedy) from error
        except OSError as error:
            os.close(held)
            if error.errno in _NO_LOCKS:
                return None
            raise
        os.close(held)


def _has_ended(path: str, held: Mapping[str, Any], locked: bool) -> bool:
    """Whether the job that wrote this lease is dead, or has not renewed it in time."""
    if held.get("host") == socket.gethostname():
        given_up = held.get("pid") == os.getpid() and held.get("token") not in _held_here
        if locked or given_up or not _runs(held.get("pid")):
            return True
    try:
        age = datetime.now(UTC) - datetime.fromisoformat(str(held.get("renewed")))
    except (TypeError, ValueError):  # damaged, or being written just now
        return locked or not is_local(path) or time.time() - local_path(path).stat().st_mtime > EXPIRES
    return age.total_seconds() > EXPIRES


def _runs(pid: object) -> bool:
    try:
        os.kill(int(str(pid)), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:  # it runs, as another user
        return True
    return True


def _refusal(folder: str, held: Mapping[str, Any] | None, remedy: str) -> OutputExists:
    by = f" ({_describe(held)})" if held else ""
    message = f"{folder}: another process is writing there{by}; {remedy}"
    if held and held.get("host") != socket.gethostname():
        message += f" (if it has died, its lease ends {EXPIRES:.0f} s after it was last renewed)"
    return OutputExists(message)


def _describe(held: Mapping[str, Any]) -> str:
    since = str(held.get("since"))[:16].replace("T", " ")
    return f"{held.get('who')} on {held.get('host')}, process {held.get('pid')}, since {since} UTC"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
