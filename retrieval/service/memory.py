"""Memory that a large job has freed, given back to the system.

A concept list of 8,000 prompts works on some hundred megabytes, which glibc and Arrow keep for the next such job: a
service that answered one would look as if it leaked. Knows no requests.
"""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa

__all__ = ["give_back_memory"]


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc); takes some milliseconds."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
