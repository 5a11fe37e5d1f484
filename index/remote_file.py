"""Reading a remote file as a stream: seekable, read in blocks, each of which is tried again when it fails.

with open_remote("s3://bucket/a.tar") as stream:
    stream.read(512)
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

from index.remote import attempt, error_code, open_system, time_limit

__all__ = ["copy_remote", "open_remote", "read_range"]

_FIRST_BLOCK, _LARGEST_BLOCK = 1 << 18, 1 << 24
_BUFFER = 1 << 16
_THREADS = 8  # blocks of one file that are read at once


def read_range(url: str, start: int, stop: int, *, whole: bool = True) -> bytes:
    """Bytes start .. stop - 1 of a remote file.

    whole: an answer with fewer bytes was cut off and is asked for again. Otherwise the file may end before `stop`.
    """
    system, inside = open_system(url)
    limit = time_limit(system, stop - start)

    def read() -> bytes:
        try:
            data = bytes(system.cat_file(inside, start=start, end=stop, **limit))
        except OSError as error:
            if whole or error_code(error) not in ("InvalidRange", "416"):
                raise
            return b""  # the file ends before `start`
        if len(data) > stop - start or (whole and len(data) != stop - start):
            raise ConnectionError(f"{len(data):,} bytes came instead of {stop - start:,}")
        return data

    return attempt(url, read)


def copy_remote(url: str, size: int, sink: IO[bytes], on_block: Callable[[bytes], object] | None = None) -> None:
    """Write the first `size` bytes of a remote file to `sink`, in order; several blocks are read at once.

    on_block: is called with each block, in order.
    """
    starts = range(0, size, _LARGEST_BLOCK)

    def read(start: int) -> bytes:
        return read_range(url, start, min(size, start + _LARGEST_BLOCK))

    with ThreadPoolExecutor(_THREADS) as pool:
        for at in range(0, len(starts), _THREADS):  # so many blocks are in memory, and no more
            group = starts[at : at + _THREADS]
            for data in pool.map(read, group) if len(group) > 1 else map(read, group):
                sink.write(data)
                if on_block is not None:
                    on_block(data)


def open_remote(url: str) -> IO[Any]:
    """Open a remote file for reading bytes; FileNotFoundError when there is none."""
    system, inside = open_system(url)
    size = int(attempt(url, lambda: system.info(inside))["size"])
    return io.BufferedReader(_RemoteFile(url, size), _BUFFER)


class _RemoteFile(io.RawIOBase):
    """One block of the file is in memory; blocks grow while reading goes on from one to the next."""

    def __init__(self, url: str, size: int) -> None:
        self.name = url
        self._size, self._at = size, 0
        self._start, self._data = 0, b""
        self._block = _FIRST_BLOCK
        self._own = threading.Lock()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"{self.name}: cannot seek to {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        with self._own:
            wanted = min(len(buffer), self._size - self._at)
            if wanted <= 0:
                return 0
            if not self._start <= self._at < self._start + len(self._data):
                follows = self._at == self._start + len(self._data)
                self._block = min(2 * self._block, _LARGEST_BLOCK) if follows else _FIRST_BLOCK
                stop = min(self._size, self._at + max(self._block, min(wanted, _LARGEST_BLOCK)))
                self._start, self._data = self._at, read_range(self.name, self._at, stop)
            offset = self._at - self._start
            piece = self._data[offset : offset + wanted]
            buffer[: len(piece)] = piece
            self._at += len(piece)
            return len(piece)
