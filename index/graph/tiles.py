"""Tiles of rows on the CPU or a GPU, and the products of queries with them.

A thread reads blocks ahead and copies them; for a GPU into pinned memory, from which the next tile is sent while the
current one is compared. A GPU multiplies fp16 rows as they are and sums in fp32. A query is split into two fp16 parts
for that, so that the products are as precise as in fp32: its rounded value, and 2^11 times what rounding left over.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from index.read_ahead import read_ahead

if TYPE_CHECKING:
    import torch

__all__ = ["Asked", "Block", "above", "kth_best", "tile_shape", "tiles"]

Block = tuple[int, npt.NDArray[np.floating[Any]]]

# Queries x rows of a tile of scores: 64 MB of floats on a CPU, where larger tiles were no faster.
_CPU_TILE, _GPU_TILE = (1_024, 16_384), (2_048, 65_536)
# Bytes of GPU memory for each score: two products of 4 bytes, the comparison, and the selection of the K best.
_GPU_SCORE_BYTES = 24
_LEAST_QUERIES = 64
# Tiles read ahead, so that the disk and the processor work at the same time.
_READ_AHEAD = 2
# fp16 has 11 significant bits: what rounding leaves over is scaled by 2^11, so that it is no subnormal number.
_LEFT_OVER = 2.0**11
# Larger components, which unit vectors have not, could overflow fp16.
_LARGEST = 1_024.0


def tile_shape(device: torch.device) -> tuple[int, int]:
    """Queries and rows that are compared at once; fewer queries on a GPU with little free memory."""
    import torch

    if device.type != "cuda":
        return _CPU_TILE
    queries, rows = _GPU_TILE
    free, _ = torch.cuda.mem_get_info(device)
    while queries > _LEAST_QUERIES and queries * rows * _GPU_SCORE_BYTES > free // 2:
        queries //= 2
    return queries, rows


def tiles(blocks: Iterable[Block], device: torch.device, rows: int) -> Generator[tuple[int, torch.Tensor], None, None]:
    """Yield `(first row id, vectors [n, d])` on the device for at most `rows` rows each; fp32, or fp16 on a GPU.

    A tile on the CPU is overwritten when the next one is asked for.
    """
    import torch

    with closing(read_ahead(_copies(blocks, rows, pinned=device.type == "cuda"), _READ_AHEAD)) as ready:
        if device.type == "cuda":
            yield from _sent(ready, device)
            return
        buffer = torch.empty((0, 0))
        for first, piece in ready:
            if buffer.shape[1] != piece.shape[1]:
                buffer = torch.empty((rows, piece.shape[1]))
            yield first, buffer[: len(piece)].copy_(piece)


def _copies(blocks: Iterable[Block], rows: int, pinned: bool) -> Iterator[tuple[int, torch.Tensor]]:
    """Pieces of the blocks in memory; page faults of a memory map happen here, in the reading thread."""
    import torch

    for first, vectors in blocks:
        kind = torch.float16 if vectors.dtype == np.float16 else torch.float32
        for start in range(0, len(vectors), rows):
            piece = vectors[start : start + rows]
            held = torch.empty(piece.shape, dtype=kind, pin_memory=pinned)
            np.copyto(held.numpy(), piece, casting="same_kind")
            yield first + start, held


def _sent(pieces: Iterable[tuple[int, torch.Tensor]], device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
    """Each piece on the GPU, when the one after it is under way. torch keeps pinned memory until its copy is done."""
    import torch

    copying = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    sent: list[tuple[int, torch.Tensor, torch.cuda.Event]] = []

    def arrived() -> tuple[int, torch.Tensor]:
        first, tile, event = sent.pop(0)
        comparing = torch.cuda.current_stream(device)
        comparing.wait_event(event)
        tile.record_stream(comparing)  # so that its memory is not given to a later copy too early
        return first, tile

    for first, piece in pieces:
        with torch.cuda.stream(copying):
            tile = piece.to(device, non_blocking=True)
            sent.append((first, tile, copying.record_event()))
        if len(sent) > 1:
            yield arrived()
    while sent:
        yield arrived()


class Asked:
    """Queries [q, d] on a device, in fp32 and, if `halves`, in two fp16 parts for products with fp16 rows."""

    def __init__(self, queries: torch.Tensor, halves: bool) -> None:
        import torch

        self.whole = queries
        self._halves: torch.Tensor | None = None
        self._buffer = np.empty((0, 0), np.float32)
        if halves and not bool((queries.abs() > _LARGEST).any()):
            rounded = queries.half()
            self._halves = torch.cat([rounded, ((queries - rounded.float()) * _LEFT_OVER).half()])

    def __len__(self) -> int:
        return len(self.whole)

    def products(self, rows: torch.Tensor) -> torch.Tensor:
        """The inner products [q, n] with rows [n, d], in fp32; on a CPU overwritten by those with the next rows."""
        import torch

        if rows.dtype == torch.float16 and self._halves is not None:
            if rows.is_cuda:
                both = torch.mm(self._halves, rows.T, out_dtype=torch.float32)
            else:
                both = self._halves.float() @ rows.float().T  # the same products and sums, for tests without a GPU
            rounded, left_over = both.chunk(2)
            return rounded.add_(left_over, alpha=1 / _LEFT_OVER)
        if rows.is_cuda:
            return self.whole @ rows.float().T
        if self._buffer.shape != (len(self), len(rows)):
            self._buffer = np.empty((len(self), len(rows)), np.float32)
        # On a core of an AMD EPYC numpy (OpenBLAS) multiplies 111 GFLOP/s, torch (MKL) 93.
        return torch.from_numpy(np.matmul(self.whole.numpy(), rows.float().numpy().T, out=self._buffer))


def above(products: torch.Tensor, threshold: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Line and column of each product [q, n] that is above its line's threshold [q], line by line."""
    import torch

    if products.is_cuda:
        return (products > threshold[:, None]).nonzero(as_tuple=True)  # type: ignore[return-value]
    # numpy does this 5 times faster than torch, and partitions 8 times faster than torch finds the k best (one core).
    found = np.flatnonzero(np.greater(products.numpy(), threshold.numpy()[:, None]))
    line, column = np.divmod(found, products.shape[1])
    return torch.from_numpy(line), torch.from_numpy(column)


def kth_best(products: torch.Tensor, k: int) -> torch.Tensor:
    """The k-th largest product of each line [q]; NaN may stand where a line has NaN."""
    import torch

    if products.is_cuda:
        return torch.topk(products, k, dim=1).values[:, -1]
    place = products.shape[1] - k
    return torch.from_numpy(np.partition(products.numpy(), place, axis=1)[:, place].copy())
