from __future__ import annotations

import logging
import platform
import subprocess
import sys

import pytest

from retrieval.service.backend import Unavailable
from retrieval.service.memory import run_in_halves


def test_memory_that_runs_out_halves_the_batch_and_then_refuses(caplog: pytest.LogCaptureFixture) -> None:
    """The error is the one that torch raises for an allocation that is too large."""
    import torch

    calls: list[int] = []

    def encode(items: list[int]) -> list[int]:
        calls.append(len(items))
        if len(items) > 2 or 7 in items:
            torch.empty(1 << 60)
        return items

    join = lambda parts: [item for part in parts for item in part]  # noqa: E731
    with caplog.at_level(logging.WARNING):
        assert run_in_halves(encode, [1, 2, 3, 4, 5], join) == [1, 2, 3, 4, 5]
    assert calls[0] == 5
    assert max(calls[1:]) <= 3
    assert "ran out of memory" in caplog.text
    with pytest.raises(Unavailable, match="memory"):
        run_in_halves(encode, [7], join)


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def broken(items: list[int]) -> list[int]:
        raise RuntimeError("a tensor has another shape")

    with pytest.raises(RuntimeError, match="another shape"):
        run_in_halves(broken, [1, 2], list)


GIVE_BACK = """
from pathlib import Path
from retrieval.service.memory import give_back_memory, limit_arenas

limit_arenas()
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
rows = [bytes(2_000) for _ in range(50_000)]
del rows[:-1]  # the last one holds the end of the heap, so that glibc alone returns nothing below it
before = pages()
give_back_memory()
print((before - pages()) * 4_096)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no malloc_trim")
def test_freed_memory_goes_back_to_the_system() -> None:
    """In a process of its own, where no other test allocates."""
    done = subprocess.run([sys.executable, "-c", GIVE_BACK], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50_000_000
