"""Memory of the service: a call that runs out of it is repeated in halves, and freed memory goes back to the system.

A concept list of 8,000 prompts takes some hundred megabytes. Once freed, glibc and Arrow keep them for the next such
list, and glibc keeps some for each thread, so a service that answered one list would look as if it leaked.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from retrieval.service.backend import Unavailable

__all__ = ["give_back_memory", "limit_arenas", "run_in_halves"]

log = logging.getLogger("clipmine.service")

_M_ARENA_MAX = -8  # malloc.h
# Heaps that all threads share. By default glibc makes up to 8 heaps for each core, and each keeps its own freed memory.
ARENAS = 2


def run_in_halves(function: Callable[[list[Any]], Any], items: list[Any], join: Callable[[list[Any]], Any]) -> Any:
    """`function(items)`. Where memory runs out, the results of both halves of the items, joined by `join`.

    Raises Unavailable when memory does not suffice for a single item.
    """
    try:
        return function(items)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        log.warning("the encoder ran out of memory with %d inputs: %s", len(items), str(error).splitlines()[0])
        if len(items) == 1:
            raise Unavailable("the encoder has run out of memory; try again later") from error
    middle = len(items) // 2
    return join([run_in_halves(function, half, join) for half in (items[:middle], items[middle:])])


def _out_of_memory(error: Exception) -> bool:
    # torch has a class of its own for CUDA only; on the CPU it raises a RuntimeError.
    return isinstance(error, MemoryError) or "memory" in str(error).lower()


def limit_arenas() -> None:
    """Let glibc make few heaps. Call it before threads start."""
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)
        if set_option is not None:
            set_option(_M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can do so (glibc). Takes some milliseconds."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
