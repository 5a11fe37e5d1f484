"""Rows that are written one after the other form an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from index.npy_stream import start_npy


def test_rows_behind_the_header_are_the_array(tmp_path: Path) -> None:
    rows = np.arange(30, dtype=np.float16).reshape(10, 3)
    with open(tmp_path / "a.npy", "wb") as stream:
        start_npy(stream, rows.dtype, rows.shape)
        for start in range(0, 10, 4):
            stream.write(rows[start : start + 4].data)
    read = np.load(tmp_path / "a.npy", mmap_mode="r", allow_pickle=False)
    assert read.dtype == np.float16
    assert np.array_equal(read, rows)
