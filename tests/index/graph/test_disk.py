"""What is in memory is told of real files, and a disk is measured past the memory or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from index.graph.disk import DiskRates, cold_bytes, measure_disk

OTHERWISE = DiskRates(1.0, 2.0)


def _written(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.write(os.urandom(size))
        file.flush()
        os.fsync(file.fileno())
    return path


def test_pages_that_were_just_read_are_in_memory(tmp_path: Path) -> None:
    files = [_written(tmp_path / name, size) for name, size in (("a", 300_000), ("b", 5_000), ("c", 0))]
    for file in files:
        file.read_bytes()
    assert cold_bytes(files) < 150_000  # other programs may have taken some of the memory
    assert cold_bytes([]) == cold_bytes([tmp_path / "missing"]) == 0


def test_a_file_that_is_removed_while_it_is_looked_at_counts_as_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, memmap = _written(tmp_path / "a", 5_000), np.memmap

    def too_late(path: Path, *arguments: object) -> object:
        path.unlink(missing_ok=True)
        return memmap(path, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "memmap", too_late)
    assert cold_bytes([file]) == 0


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system cannot drop pages")
def test_dropped_pages_are_not(tmp_path: Path) -> None:
    file = _written(tmp_path / "a", 1 << 20)
    with file.open("rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert cold_bytes([file]) in (0, 1 << 20)  # nothing is dropped on a file system in memory


def test_no_file_and_a_small_file_are_not_measured(tmp_path: Path) -> None:
    assert measure_disk(None, OTHERWISE) == OTHERWISE
    assert measure_disk(_written(tmp_path / "a", 5_000), OTHERWISE) == OTHERWISE


def test_a_large_file_gives_rates(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        for _ in range(17):
            file.write(os.urandom(1 << 20) * 8)
        file.flush()
        os.fsync(file.fileno())
    rates = measure_disk(tmp_path / "a", OTHERWISE)
    assert rates == OTHERWISE or (rates.bytes_a_second > 1e6 and 0 < rates.page_seconds < 1)
