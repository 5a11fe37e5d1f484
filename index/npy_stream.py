"""Writing a .npy file piece by piece."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["start_npy"]


def start_npy(stream: BinaryIO, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
    """Write the header of an array; write its rows behind it, in their order (`stream.write(rows.data)`).

    Rows that are written into a memory map take space when it is too late for an error: a full disk kills the process.
    """
    described = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
