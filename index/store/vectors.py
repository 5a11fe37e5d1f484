"""Files of vectors: mapping them into memory, and what readers see of rows that are not unit vectors.

A row with inf or NaN reads as zero, as a forgotten row does, so that no search returns it. Rows of another length than
1 read as unit vectors.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.errors import StoreInvalid

__all__ = [
    "OddVectors",
    "VectorFile",
    "VectorFindings",
    "Vectors",
    "hide_not_finite",
    "inspect_vectors",
    "normalise",
    "not_finite_rows",
    "off_unit",
    "open_vectors",
    "read_header",
]

Vectors = npt.NDArray[np.floating[Any]]

# A unit vector's length in float16 is 1 to about 0.0005, and to about 0.001 if it was normalised in float16 too.
UNIT_TOLERANCE = 0.005
# Rows looked at together: with 512 dimensions, their float32 copy stays in a core's cache (1 GB/s of float16 measured).
_CHUNK_ROWS = 256


@dataclass(frozen=True)
class VectorFile:
    """Where the vectors [rows, dim] of a .npy file begin, so that it is mapped again without reading its header."""

    path: Path
    rows: int
    dim: int
    dtype: np.dtype[Any]
    offset: int
    by_column: bool  # numpy's Fortran order

    def map(self) -> Vectors:
        """The vectors, memory-mapped, read-only; StoreInvalid when the file is missing or cut off."""
        count = self.rows * self.dim
        if not count:
            return np.empty((self.rows, self.dim), self.dtype)
        try:
            opened = os.open(self.path, os.O_RDONLY)
            try:
                mapped = mmap.mmap(opened, self.offset + count * self.dtype.itemsize, access=mmap.ACCESS_READ)
            finally:
                os.close(opened)
        except FileNotFoundError as error:
            raise StoreInvalid(f"{self.path}: is missing") from error
        except (ValueError, OSError) as error:  # ValueError: the file is shorter than that
            raise StoreInvalid(f"{self.path}: cannot be read as a .npy file ({error})") from error
        flat = np.frombuffer(mapped, self.dtype, count, self.offset)
        return flat.reshape(self.dim, self.rows).T if self.by_column else flat.reshape(self.rows, self.dim)

    def read(self, positions: npt.NDArray[np.int64]) -> Vectors:
        """The vectors [n, dim] at some positions, read and not mapped, which is faster for a few; not `by_column`.

        Raises:
            StoreInvalid: the file is missing or cut off.
        """
        size = self.dim * self.dtype.itemsize
        try:
            opened = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise StoreInvalid(f"{self.path}: cannot be read ({error.strerror})") from error
        try:
            data = b"".join(os.pread(opened, size, self.offset + size * place) for place in positions.tolist())
        finally:
            os.close(opened)
        if len(data) != size * len(positions):
            raise StoreInvalid(f"{self.path}: has been cut off since it was opened")
        return np.frombuffer(data, self.dtype).reshape(len(positions), self.dim)


@dataclass
class VectorFindings:
    """What `inspect_vectors` found in the rows that it was given, one call after another."""

    rows: int = 0
    zero: int = 0  # rows of zeros
    not_finite: int = 0  # rows with inf or NaN
    first_not_finite: int | None = None  # the position of the first of them
    not_unit: int = 0  # other rows whose length is not 1
    lengths: tuple[float, float] = field(default=(np.inf, -np.inf))  # least and greatest, of rows with a direction

    @property
    def unit_length(self) -> bool:
        """Whether all rows with a direction have length 1."""
        return not self.not_unit

    @property
    def usable(self) -> int:
        """Rows that searches can find."""
        return self.rows - self.zero - self.not_finite


@dataclass(frozen=True)
class OddVectors:
    """Rows of one file that are not unit vectors: readers give zeros for those with inf or NaN and scale the others."""

    part: str
    modality: str
    not_finite: int  # rows with inf or NaN
    first_not_finite: int | None  # row id in the store of the first of them
    not_unit: int  # finite rows of another length than 1
    lengths: tuple[float, float] | None  # least and greatest length, of rows with a direction

    @classmethod
    def of(cls, part: str, modality: str, first_row: int, found: VectorFindings) -> OddVectors:
        """What was found in a part whose first row id is `first_row`."""
        lengths = (round(found.lengths[0], 4), round(found.lengths[1], 4)) if found.usable else None
        row = None if found.first_not_finite is None else first_row + found.first_not_finite
        return cls(part, modality, found.not_finite, row, found.not_unit, lengths)


def open_vectors(path: Path) -> Vectors:
    """Memory-map a .npy file of vectors, read-only; StoreInvalid when it is missing, truncated or not such a file."""
    return read_header(path).map()


def read_header(path: Path) -> VectorFile:
    """The header of a .npy file of vectors (numpy.lib.format); StoreInvalid when it is missing or not such a file."""
    try:
        with open(path, "rb") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran_order, dtype = read(stream)
            offset = stream.tell()
    except FileNotFoundError as error:
        raise StoreInvalid(f"{path}: is missing") from error
    except (ValueError, OSError) as error:
        raise StoreInvalid(f"{path}: cannot be read as a .npy file ({str(error).splitlines()[0]})") from error
    if len(shape) != 2 or dtype not in (np.float16, np.float32):
        raise StoreInvalid(f"{path}: holds {dtype} {shape}, not rows of float16 or float32")
    return VectorFile(path, *shape, dtype, offset, fortran_order)


def not_finite_rows(vectors: Vectors) -> npt.NDArray[np.intp]:
    """Positions of the rows with inf or NaN, ascending. On 65,536 x 512 float16 this takes a fiftieth of a scan."""
    # The exponent's bits are all ones in inf and NaN only; comparing integers is many times faster than isfinite here.
    signed, mask, least = {
        2: (np.int16, np.int16(0x7FFF), 0x7C00),
        4: (np.int32, np.int32(0x7FFFFFFF), 0x7F800000),
    }[vectors.dtype.itemsize]
    bits = vectors.view(signed)
    if not bits.size:
        return np.empty(0, np.intp)
    found = []
    for start in range(0, len(bits), _CHUNK_ROWS):
        absolute = bits[start : start + _CHUNK_ROWS] & mask
        if absolute.max() >= least:
            found.append(np.flatnonzero(absolute.max(axis=1) >= least) + start)
    return np.concatenate(found) if found else np.empty(0, np.intp)


def hide_not_finite(vectors: Vectors) -> Vectors:
    """`vectors` with zeros for its rows with inf or NaN: a copy if there are any."""
    bad = not_finite_rows(vectors)
    if len(bad):
        vectors = np.array(vectors)
        vectors[bad] = 0
    return vectors


def normalise(vectors: Vectors) -> Vectors:
    """Finite rows [n, d] scaled to length 1, in their own dtype; rows of zeros stay."""
    scaled = np.empty_like(vectors)
    for start, norms in _norms(vectors):
        rows = slice(start, start + len(norms))
        # float64, as float32 cannot hold the length of every float32 row
        scaled[rows] = vectors[rows].astype(np.float64) / np.where(norms > 0, norms, 1)[:, None]
    return scaled


def off_unit(vectors: Vectors) -> npt.NDArray[np.intp]:
    """Positions of the finite rows that are neither zero nor of length 1."""
    found = [
        np.flatnonzero((norms > 0) & (np.abs(norms - 1) >= UNIT_TOLERANCE)) + start for start, norms in _norms(vectors)
    ]
    return np.concatenate(found) if found else np.empty(0, np.intp)


def inspect_vectors(
    vectors: Vectors, findings: VectorFindings, on_rows: Callable[[int], None] | None = None
) -> VectorFindings:
    """Read all rows once and add what they are to `findings`; `on_rows(n)` is called after each n rows."""
    for start in range(0, len(vectors), 64 * _CHUNK_ROWS):
        some = vectors[start : start + 64 * _CHUNK_ROWS]
        bad = not_finite_rows(some)
        norms = np.concatenate([part for _, part in _norms(hide_not_finite(some) if len(bad) else some)])
        directed = norms[norms > 0]
        if len(bad) and findings.first_not_finite is None:
            findings.first_not_finite = findings.rows + int(bad[0])
        findings.rows += len(some)
        findings.not_finite += len(bad)
        findings.zero += len(norms) - len(directed) - len(bad)
        findings.not_unit += int(np.count_nonzero(np.abs(directed - 1) >= UNIT_TOLERANCE))
        if len(directed):
            least, greatest = findings.lengths
            findings.lengths = (min(least, float(directed.min())), max(greatest, float(directed.max())))
        if on_rows is not None:
            on_rows(len(some))
    return findings


def _norms(vectors: Vectors) -> list[tuple[int, npt.NDArray[np.float64]]]:
    """Lengths of finite rows, a chunk at a time, with the chunk's first position."""
    found = []
    for start in range(0, len(vectors), _CHUNK_ROWS):
        wide = vectors[start : start + _CHUNK_ROWS].astype(np.float32)
        with np.errstate(over="ignore", under="ignore"):
            squares = np.einsum("ij,ij->i", wide, wide).astype(np.float64)
        extreme = (squares < 1e-30) | ~np.isfinite(squares)  # beyond float32's range, or a row of zeros
        if extreme.any():
            rows = wide[extreme].astype(np.float64)
            squares[extreme] = np.einsum("ij,ij->i", rows, rows)
        found.append((start, np.sqrt(squares)))
    return found
