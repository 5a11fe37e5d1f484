"""Processes that decode and scale images, where Python's lock would keep threads from using a worker's cores.

    decoders = Decoders(encoder.scaling, MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS)
    width, height, pixels = decoders(data)  # from as many threads as processes are wanted

A thread sends an image file's bytes to a process of its own through a pipe, and finds the pixels in memory that both
share. The memory has no name, and a process ends when its pipe closes or when it is idle, so nothing is left of a
killed job. The processes load Pillow and numpy only: 30 MB and 0.1 s each, where torch would take 500 MB and 4 s.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from index.corpus.image_decoding import ImageRejected, decode_image
from index.encoder.scaling import Scaling
from index.exit_status import describe_exit

__all__ = ["DecoderDied", "Decoders", "ScaledImage", "scale_image", "serve"]

# An image file's width and height, and its pixels as the model sees them: uint8 [h, w, 3].
ScaledImage = tuple[int, int, npt.NDArray[np.uint8]]

IDLE_SECONDS = 30.0  # a process that gets no image for so long ends; a later image starts another one
_ATTEMPTS = 2
# A codec that ends its process like this does so each time. A kill or a full memory says nothing about the image.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)
# ProcessPoolExecutor and DataLoader start children by multiprocessing, which runs the user's script again in each of
# them and refuses in daemonic workers. They do not tell which image a child died of, and Docker's /dev/shm is 64 MB.
# Started with -P: no module of the working folder, which may hold somebody's data, is imported instead of Python's own.
_CHILD = """import json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent closes the pipe
sys.path[:] = json.loads(sys.argv[1])
from index.corpus.decoders import serve
serve(int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))"""


class DecoderDied(Exception):
    """An image's process was killed twice, failed, or could not be started; the message says how."""


def scale_image(
    data: bytes, scale: Callable[[Image.Image], npt.NDArray[np.uint8]], max_bytes: int, max_pixels: int
) -> ScaledImage:
    """Decode and scale an image file in this process; raises ImageRejected as `decode_image` does."""
    image = decode_image(data, max_bytes=max_bytes, max_pixels=max_pixels)
    return image.width, image.height, scale(image)


class Decoders:
    """`scale_image` in other processes. Threads may call it; each uses a process of its own while it waits."""

    def __init__(self, scaling: Scaling, max_bytes: int, max_pixels: int) -> None:
        self._settings = scaling, max_bytes, max_pixels
        self._free: list[_Decoder] = []  # the last one used is taken first, so that those not needed become idle

    def __call__(self, data: bytes) -> ScaledImage:
        """An image file's size and pixels.

        Raises:
            ImageRejected: as `decode_image` does; "decoder_crashed" if two processes crashed with this image.
            DecoderDied: two processes were killed, as the system does when memory runs out, or could not start.
        """
        died: list[int] = []
        while len(died) < _ATTEMPTS:
            try:
                decoder = self._take()
            except OSError as error:
                raise DecoderDied(f"it could not be started: {error}") from error
            try:
                answer = decoder.ask(data)
            except (EOFError, OSError):
                status = decoder.end()
                if status or not decoder.has_answered:  # else it had ended because it was idle
                    died.append(status)
                continue
            if "width" in answer:
                pixels = decoder.pixels.copy()
                self._free.append(decoder)
                return answer["width"], answer["height"], pixels
            self._free.append(decoder)
            if "rejected" in answer:
                raise ImageRejected(answer["rejected"])
            raise DecoderDied(answer["failed"])
        if all(-status in _CRASHES for status in died):
            raise ImageRejected("decoder_crashed")
        raise DecoderDied(describe_exit(died[-1]))

    def processes(self) -> list[int]:
        """The ids of the processes that are free."""
        return [decoder.process.pid for decoder in self._free]

    def _take(self) -> _Decoder:
        with suppress(IndexError):
            return self._free.pop()
        return _Decoder(*self._settings)


class _Decoder:
    """One process, seen from the worker.

    Attributes:
        process: running until its pipe closes.
        pixels: those of the last answer, uint8 [h, w, 3] in memory that the process writes.
        has_answered: whether it ever did.
    """

    def __init__(self, scaling: Scaling, max_bytes: int, max_pixels: int) -> None:
        shape = (*scaling.size, 3)
        size = int(np.prod(shape))
        settings = {"max_bytes": max_bytes, "max_pixels": max_pixels, "idle": IDLE_SECONDS, **asdict(scaling)}
        folders = [folder for folder in sys.path if isinstance(folder, str)]
        memory = _unnamed_memory(size)
        try:
            self.pixels = np.frombuffer(mmap.mmap(memory, size), np.uint8).reshape(shape)
            self._pipe, theirs = Pipe()
            with theirs:  # closed here, else our end would see no end-of-file when the process dies
                shared = memory, theirs.fileno()
                command = [sys.executable, "-P", "-c", _CHILD, json.dumps(folders), *map(str, shared)]
                self.process = subprocess.Popen(
                    [*command, json.dumps(settings)],
                    pass_fds=shared,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # numpy would start a thread for each core
                )
        finally:
            os.close(memory)
        self.has_answered = False
        self._end = weakref.finalize(self, _end, self._pipe, self.process)  # also when Python exits

    def ask(self, data: bytes) -> dict[str, Any]:
        """The answer about an image file; EOFError or OSError if the process has ended."""
        self._pipe.send_bytes(data)
        answer: dict[str, Any] = json.loads(self._pipe.recv_bytes())
        self.has_answered = True
        return answer

    def end(self) -> int:
        """End the process; its exit status."""
        self._end()
        return self.process.wait()


def _end(pipe: Connection[Any, Any], process: subprocess.Popen[bytes]) -> None:
    pipe.close()
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:  # it works on a large image
        process.kill()
        process.wait()


def _unnamed_memory(size: int) -> int:
    """A file descriptor of memory that can be shared, and is free when nobody has it open."""
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("clipmine-pixels")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.ftruncate(memory, size)
    return memory


def serve(memory: int, pipe_end: int, settings: dict[str, Any]) -> None:
    """A decoder's main function: image files in, answers out, until the pipe closes or nothing comes for a while.

    Args:
        memory, pipe_end: file descriptors; the pixels are written to the first.
        settings: those of `_Decoder`.
    """
    idle, max_bytes, max_pixels = (settings.pop(name) for name in ("idle", "max_bytes", "max_pixels"))
    scaling = Scaling(**{**settings, "size": tuple(settings["size"])})
    shared = np.frombuffer(mmap.mmap(memory, 0), np.uint8).reshape((*scaling.size, 3))
    pipe: Connection[bytes, bytes] = Connection(pipe_end)
    with suppress(EOFError, ConnectionError):
        while pipe.poll(idle):
            try:
                width, height, pixels = scale_image(pipe.recv_bytes(), scaling, max_bytes, max_pixels)
                shared[:] = pixels
                answer: dict[str, Any] = {"width": width, "height": height}
            except ImageRejected as rejected:
                answer = {"rejected": rejected.reason}
            except (EOFError, ConnectionError):
                return
            except Exception as error:
                answer = {"failed": f"{type(error).__name__}: {error}"}
            pipe.send_bytes(json.dumps(answer).encode())
