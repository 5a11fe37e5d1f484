"""Whether two nearly identical images are one picture or differ in something, and where.

A copy may have been compressed again, resized or converted; its pixels then differ a little wherever the picture has
edges. An edit differs much more in one place than elsewhere (Spot-the-Diff, Subtle-Diff), or in the whole picture. Both
images are reduced to GRID x GRID cells by averaging. A cell's difference is that of the mean of its 3 x 3
neighbourhood, in which errors of resampling cancel, divided by 1 + EDGES x the contrast there, as these errors grow
with it. So a pair sets its own scale: its median cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from index.corpus.image_decoding import ImageRejected, decode_image
from index.errors import BadInput
from index.store.embedding_store import EmbeddingStore
from index.store.read_image import read_image_at
from mining.strategies.context import MapItems, MiningContext
from mining.strategies.neighbors.work_arrays import has_arrays, read_array, read_arrays, write_array, write_arrays

__all__ = ["PixelDifferences", "needs_pixels", "pixel_difference", "pixel_differences", "reduced"]

Floats = npt.NDArray[np.float32]
RowIds = npt.NDArray[np.int64]

GRID = 64
EDGES = 0.05
# Two images differ where the largest cell is so many times the median cell, or where the median cell is so large, in
# levels of 0 .. 255. Set on 60 photographs (short side 256) and 120 drawings: 1.5% of their copies (JPEG of quality 90
# to 30, WebP of quality 50, sizes from 0.25 to 1.5) are above a limit. FLAT keeps flat pictures from dividing by 0.
LARGEST_OVER_MEDIAN = 7.0
MEDIAN = 3.5
FLAT = 0.3
# A cell belongs to what differs from this part of the largest difference on.
CHANGED = 0.25
# Pairs an item: about ten seconds of decoding photographs on one core.
ITEM_PAIRS = 512


@dataclass(frozen=True)
class PixelDifferences:
    """What the pixels of n pairs say.

    readable: bool [n], both images could be read and decoded. different: bool [n], they are not one picture. share:
    float32 [n], the part of the picture that differs. box: float32 [n, 4], left, top, right and bottom around that
    part, as fractions of width and height.
    """

    readable: npt.NDArray[np.bool_]
    different: npt.NDArray[np.bool_]
    share: Floats
    box: Floats


@dataclass(frozen=True)
class PixelItem:
    """The pairs first .. last - 1 of those written to the working folder."""

    number: int
    first: int
    last: int


def needs_pixels(store: EmbeddingStore, option: str) -> None:
    """Raise BadInput for a store without images, whose pixels `option` would compare."""
    if store.corpus_root is None:
        raise BadInput(
            f"{store.path}: has embeddings without images, and {option} compares their pixels; "
            f"leave it out, or embed the images themselves"
        )


def pixel_differences(ctx: MiningContext, map_items: MapItems, pairs: RowIds) -> PixelDifferences:
    """Compare the images of pairs int64 [n, 2]; each image is decoded once an item, within the bounds of decoding."""
    write_array(ctx, "pixel_pairs.npy", pairs)
    items = [
        PixelItem(number, first, min(first + ITEM_PAIRS, len(pairs)))
        for number, first in enumerate(range(0, len(pairs), ITEM_PAIRS))
    ]
    map_items(compare_item, items, f"mine {ctx.strategy}: compare pixels")
    found = [read_arrays(ctx, _file(item)) for item in items]

    def joined(name: str, empty: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return np.concatenate([empty, *(each[name] for each in found)])

    return PixelDifferences(
        joined("readable", np.empty(0, np.bool_)).astype(np.bool_),
        joined("different", np.empty(0, np.bool_)).astype(np.bool_),
        joined("share", np.empty(0, np.float32)).astype(np.float32),
        joined("box", np.empty((0, 4), np.float32)).astype(np.float32),
    )


def compare_item(item: PixelItem, ctx: MiningContext) -> int:
    """Write what the pixels of an item's pairs say; returns the number of pairs."""
    if has_arrays(ctx, _file(item)):
        return item.last - item.first
    pairs = read_array(ctx, "pixel_pairs.npy")[item.first : item.last]
    images = _images(ctx.open_store(), np.unique(pairs))
    readable, different = np.zeros(len(pairs), np.bool_), np.zeros(len(pairs), np.bool_)
    share, box = np.zeros(len(pairs), np.float32), np.zeros((len(pairs), 4), np.float32)
    for place, (one, other) in enumerate(pairs.tolist()):
        if one in images and other in images:
            readable[place] = True
            different[place], share[place], box[place] = pixel_difference(images[one], images[other])
    write_arrays(ctx, _file(item), readable=readable, different=different, share=share, box=box)
    return len(pairs)


def reduced(image: Image.Image) -> Floats:
    """float32 [GRID, GRID, 3]: the mean color of each cell of an RGB image, whatever its size."""
    return np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX), np.float32)


def pixel_difference(one: Floats, other: Floats) -> tuple[bool, float, tuple[float, float, float, float]]:
    """(whether two `reduced` images differ, the share of the picture that does, the box around it as fractions)."""
    apart = np.abs(_around(one - other)).max(axis=2)
    contrast = _around(np.maximum(_contrast(one), _contrast(other))).max(axis=2)
    cells = apart / (1 + EDGES * contrast)
    median = float(np.median(cells))
    largest = float(cells.max())
    if median <= MEDIAN and largest <= LARGEST_OVER_MEDIAN * (median + FLAT):
        return False, 0.0, (0.0, 0.0, 0.0, 0.0)
    changed = cells >= CHANGED * largest
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return True, float(changed.mean()), (left / GRID, top / GRID, right / GRID, bottom / GRID)


def _around(cells: Floats) -> Floats:
    """The mean of each cell's 3 x 3 neighbourhood, [GRID, GRID, c]."""
    padded = np.pad(cells, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    mean: Floats = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
    return mean


def _contrast(cells: Floats) -> Floats:
    right = np.abs(np.diff(cells, axis=1, append=cells[:, -1:]))
    below = np.abs(np.diff(cells, axis=0, append=cells[-1:]))
    contrast: Floats = right + below
    return contrast


def _images(store: EmbeddingStore, rows: RowIds) -> dict[int, Floats]:
    """The reduced image of each row that can be read."""
    places = store.metadata(rows, ["shard", "offset", "size", "sha256"]).to_pylist()
    found = {}
    for row, place in zip(rows.tolist(), places, strict=True):
        try:
            found[row] = reduced(decode_image(read_image_at(str(store.corpus_root), row, place)))
        except (BadInput, ImageRejected):  # gone, changed, or cannot be decoded; the strategy counts such pairs
            continue
    return found


def _file(item: PixelItem) -> str:
    return f"pixels_{item.number:05d}.npz"
