"""Memory that was freed, given back to the system.

A concept list of 8,000 prompts works on some hundred megabytes, which glibc and Arrow keep for the next such job, and
glibc keeps some for each thread: a service that answered one would look as if it leaked. Knows no requests.
"""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa

__all__ = ["bound_arenas", "give_back_memory"]

_M_ARENA_MAX = -8  # malloc.h
# Heaps that threads share. By default each of up to 8 threads a core gets its own, with its own freed memory in it.
ARENAS = 2


def bound_arenas() -> None:
    """Let glibc make few heaps; to be called before threads start."""
    if sys.platform == "linux":
        bound = getattr(ctypes.CDLL(None), "mallopt", None)
        if bound is not None:
            bound(_M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc); takes some milliseconds."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
