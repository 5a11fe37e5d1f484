"""Which pages of files are in memory, and how fast the disk reads those that are not."""

from __future__ import annotations

import ctypes
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["PAGE", "DiskRates", "cold_bytes", "measure_disk"]

PAGE = 4_096
# Pages that are looked at: the share that is in memory is known within 3%.
_SAMPLES = 1_024
_READ_BYTES, _READ_PAGES = 32 << 20, 16
# Linux keeps files in memory by up to 2 MB, and drops no part of these.
_FOLIO = 2 << 20


@dataclass(frozen=True)
class DiskRates:
    """bytes_a_second: read in order; page_seconds: one page read from anywhere."""

    bytes_a_second: float
    page_seconds: float


def cold_bytes(files: Sequence[Path]) -> int:
    """About how many bytes of the files are not in memory, from a sample of their pages; 0 where that is not known.

    Linux tells it of files that the user owns or may write; other files and other systems count as in memory.
    """
    sizes = np.array([file.stat().st_size if file.is_file() else 0 for file in files], np.int64)
    pages = -(-sizes // PAGE)
    if not pages.sum() or not hasattr(ctypes.CDLL(None), "mincore"):
        return 0
    count = min(_SAMPLES, int(pages.sum()))
    # At equal distances, so that every file counts by its size.
    chosen = (np.arange(count) + 0.5) * pages.sum() / count
    ends = np.cumsum(pages)
    owner = np.searchsorted(ends, chosen, side="right")
    cold = 0
    for place in np.unique(owner).tolist():
        own = (chosen[owner == place] - (ends[place] - pages[place])).astype(np.int64)
        cold += len(own) - _in_memory(files[place], own)
    return int(sizes.sum() * cold / count)


def _in_memory(file: Path, pages: npt.NDArray[np.int64]) -> int:
    """How many of the file's pages are in memory; all of a file that a build of an index has removed meanwhile."""
    mincore = ctypes.CDLL(None).mincore
    try:
        mapped = np.memmap(file, np.uint8, "r")
    except (OSError, ValueError):  # ValueError: it is empty now
        return len(pages)
    start, found = int(mapped.ctypes.data), ctypes.create_string_buffer(1)
    resident = 0
    for page in pages.tolist():
        failed = mincore(ctypes.c_void_p(start + page * PAGE), ctypes.c_size_t(1), found)
        resident += bool(failed) or found.raw[0] & 1
    return resident


def measure_disk(file: Path | None, otherwise: DiskRates) -> DiskRates:
    """Read some of the file past the memory; `otherwise` where that cannot be done, as on a file system in memory.

    The pages that are read are first dropped from memory, 64 MB at most, which costs those who use them a read.
    """
    if file is None or not hasattr(os, "posix_fadvise"):
        return otherwise
    size = file.stat().st_size
    if size < 4 * _READ_BYTES:
        return otherwise
    picked = random.Random(size)
    with file.open("rb", buffering=0) as opened:
        reader = opened.fileno()
        places = [picked.randrange(size // _FOLIO // 2, size // _FOLIO) * _FOLIO for _ in range(_READ_PAGES)]
        os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead
        for place in places:
            os.posix_fadvise(reader, place, _FOLIO, os.POSIX_FADV_DONTNEED)
        if _in_memory(file, np.array(places) // PAGE) > _READ_PAGES // 4:
            return otherwise
        began = time.perf_counter()
        for place in places:
            os.pread(reader, PAGE, place)
        page_seconds = (time.perf_counter() - began) / _READ_PAGES
        os.posix_fadvise(reader, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        os.posix_fadvise(reader, 0, _READ_BYTES, os.POSIX_FADV_DONTNEED)
        began = time.perf_counter()
        for place in range(0, _READ_BYTES, 1 << 20):
            os.pread(reader, 1 << 20, place)
        in_order = time.perf_counter() - began
    return DiskRates(_READ_BYTES / max(in_order, 1e-6), max(page_seconds, 1e-7))
