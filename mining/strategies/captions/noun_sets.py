"""The nouns of all captions as sorted integer sets on disk, the input of the overlap join, and how many two sets share.

They are written in two maps: `extract_item` writes the nouns of a slice of rows and their counts; once all counts are
known, `encode_item` writes the nouns as ranks, the rarest noun first. A noun of only one caption can't be shared, so it
has no rank. `NounSets` reads the sets by position.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from index.files import exists, join, local_path, make_folder, write_atomic
from mining.strategies.context import MapItems, MiningContext
from mining.strategies.minable import minable_rows
from mining.text.nouns import noun_extractor

__all__ = [
    "EXACT_BITS",
    "LARGEST_SHARE",
    "NounSets",
    "RowSlice",
    "captions_of",
    "make_noun_sets",
    "pad_sets",
    "row_slices",
    "save_array",
    "shared_counts",
    "shared_mask",
]

Ints = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

# Rows of an item: seconds of work, about 10 MB of captions.
ITEM_ROWS = 16_384
# Most items, since a task of the join reads a slice of each; 400 million rows make items of 800,000.
MOST_ITEMS = 512
# No task may hold more than an eighth of the captions, however few these are.
LARGEST_SHARE = 8
# The signature of a set: a bit for each of the 192 commonest nouns, and a word of hashed bits for all others.
EXACT_BITS, SIGNATURE_WORDS = 192, 4
# Pairs compared noun by noun at a time: 65,536 x 20 x 20 comparisons are 26 MB.
_PAIRS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class RowSlice:
    """Positions start .. stop - 1 of the rows that may be mined. number: names its files."""

    number: int
    start: int
    stop: int


def row_slices(count: int) -> list[RowSlice]:
    """Cut `count` rows into items of at most an eighth of them; depends on `count` only."""
    size = max(1, min(ITEM_ROWS, count // LARGEST_SHARE), -(-count // MOST_ITEMS))
    return [RowSlice(number, start, min(start + size, count)) for number, start in enumerate(range(0, count, size))]


def make_noun_sets(ctx: MiningContext, map_items: MapItems) -> NounSets:
    """Run both maps and open the result; finished items are kept."""
    slices = row_slices(minable_rows(ctx, ctx.open_store()).count)
    make_folder(join(ctx.folder, "nouns"))
    map_items(extract_item, slices, "overlap: nouns")
    _write_vocabulary(ctx.folder, slices)
    counts = map_items(encode_item, slices, "overlap: noun sets")
    save_array(join(ctx.folder, "nouns", "starts.npy"), np.cumsum([0, *counts], dtype=np.int64))
    return NounSets(ctx.folder)


def extract_item(item: RowSlice, ctx: MiningContext) -> int:
    """Write a table (row, caption: a hash of the text, nouns) for a slice, and how many of its rows have each noun."""
    target = _file(ctx.folder, "nouns", item.number, "parquet")
    if exists(target):
        return item.number
    store = ctx.open_store()
    rows = minable_rows(ctx, store).rows(item.start, item.stop)
    lists = captions_of(store.metadata(rows, ["caption", "captions"]), ctx.config.captions)
    texts = ["\n".join(each) for each in lists]
    nouns = pa.array(noun_extractor(ctx.config.nouns)(texts), pa.list_(pa.string()))
    hashes = [int.from_bytes(hashlib.blake2b(_same(text), digest_size=8).digest(), "little") for text in texts]
    counted = pc.value_counts(nouns.flatten())
    counts = pa.table({"noun": counted.field("values"), "rows": counted.field("counts")})
    write_atomic(_file(ctx.folder, "counts", item.number, "parquet"), _parquet(counts))
    table = pa.table({"row": pa.array(rows), "caption": pa.array(hashes, pa.uint64()), "nouns": nouns})
    write_atomic(target, _parquet(table))
    return item.number


def encode_item(item: RowSlice, ctx: MiningContext) -> int:
    """Write the sets of a slice as ranks: rows, captions, offsets, ranks, signatures; returns its number of rows."""
    rows_file = _file(ctx.folder, "rows", item.number, "npy")
    if exists(rows_file):
        return len(np.load(local_path(rows_file), mmap_mode="r"))
    table = pq.read_table(local_path(_file(ctx.folder, "nouns", item.number, "parquet")))
    vocabulary = _vocabulary(ctx.folder)["noun"].combine_chunks()
    nouns = table["nouns"].combine_chunks()
    found = pc.index_in(nouns.flatten(), value_set=vocabulary)
    owner = np.repeat(np.arange(len(nouns)), np.diff(nouns.offsets.to_numpy()))
    known = found.is_valid().to_numpy(zero_copy_only=False)
    owner, ranks = owner[known], found.drop_null().to_numpy().astype(np.int64)
    order = np.argsort((owner << 32) | ranks)
    owner, ranks = owner[order], ranks[order].astype(np.int32)
    offsets = np.searchsorted(owner, np.arange(len(nouns) + 1)).astype(np.int64)
    parts = {
        "captions": table["caption"].to_numpy(),
        "offsets": offsets,
        "ranks": ranks,
        "bits": _signatures(owner, ranks, len(nouns), len(vocabulary)),
        "rows": table["row"].to_numpy(),  # written last: it marks the item as finished
    }
    for name, array in parts.items():
        save_array(_file(ctx.folder, name, item.number, "npy"), array)
    return len(nouns)


class NounSets:
    """Reads the sets of rows by position, 0 .. count - 1 in the order of the rows; can be opened on any worker."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.starts: Ints = np.load(local_path(join(folder, "nouns", "starts.npy")))
        table = _vocabulary(folder)
        self.nouns: pa.ChunkedArray = table["noun"]
        self.noun_rows: Ints = table["rows"].to_numpy()

    @property
    def count(self) -> int:
        return int(self.starts[-1])

    @property
    def items(self) -> int:
        return len(self.starts) - 1

    def part(self, name: str, item: int) -> npt.NDArray[Any]:
        """One array of an item, memory-mapped: rows, captions, offsets, ranks or bits."""
        array: npt.NDArray[Any] = np.load(local_path(_file(self.folder, name, item, "npy")), mmap_mode="r")
        return array

    def take(self, name: str, positions: Ints) -> npt.NDArray[Any]:
        """rows int64 [n], captions uint64 [n] or bits uint64 [n, 4] at ascending positions."""
        return np.concatenate([self.part(name, item)[places] for item, places in self._by_item(positions)])

    def ranks(self, positions: Ints) -> tuple[Ints, Ranks]:
        """(offsets [n + 1], ranks): the sets at ascending positions, one after the other."""
        sizes, pieces = [np.zeros(1, np.int64)], [np.empty(0, np.int32)]
        for item, places in self._by_item(positions):
            offsets = self.part("offsets", item)
            first, size = offsets[places].astype(np.int64), (offsets[places + 1] - offsets[places]).astype(np.int64)
            sizes.append(size)
            pieces.append(self.part("ranks", item)[_ranges(first, size)].astype(np.int32))
        return np.cumsum(np.concatenate(sizes)), np.concatenate(pieces)

    def _by_item(self, positions: Ints) -> list[tuple[int, Ints]]:
        bounds = np.searchsorted(positions, self.starts)
        touched = np.flatnonzero(np.diff(bounds))
        found = [(int(item), positions[bounds[item] : bounds[item + 1]] - self.starts[item]) for item in touched]
        return found or [(0, np.empty(0, np.int64))]


def pad_sets(offsets: Ints, ranks: Ranks) -> Ranks:
    """int32 [n, longest]: the sets as rows, padded with -1."""
    sizes = np.diff(offsets)
    width = int(sizes.max()) if len(sizes) else 0
    padded = np.full((len(sizes), width), -1, np.int32)
    padded[np.arange(width) < sizes[:, None]] = ranks
    return padded


def shared_counts(padded: Ranks, one: Ints, other: Ints) -> Ints:
    """int64 [n]: the number of nouns that rows one[i] and other[i] of `padded` share."""
    counts: Ints = shared_mask(padded, one, other).sum(axis=1, dtype=np.int64)
    return counts


def shared_mask(padded: Ranks, one: Ints, other: Ints) -> npt.NDArray[np.bool_]:
    """bool [n, longest]: which nouns of row one[i] are in row other[i] too."""
    mask = np.zeros((len(one), padded.shape[1]), np.bool_)
    for start in range(0, len(one), _PAIRS_AT_ONCE):
        a, b = padded[one[start : start + _PAIRS_AT_ONCE]], padded[other[start : start + _PAIRS_AT_ONCE]]
        b = np.where(b < 0, -2, b)
        for column in range(a.shape[1]):
            mask[start : start + _PAIRS_AT_ONCE, column] = (a[:, column, None] == b).any(axis=1)
    return mask


def _ranges(first: Ints, size: Ints) -> Ints:
    """first[0], first[0] + 1, ... (size[0] of them), first[1], ..."""
    before = np.cumsum(size) - size
    ranges: Ints = np.repeat(first - before, size) + np.arange(int(size.sum()))
    return ranges


def _signatures(owner: Ints, ranks: Ranks, count: int, vocabulary: int) -> Words:
    """uint64 [count, 4]: words 0 to 2 hold a bit each for the 192 commonest nouns, word 3 hashed bits of the others."""
    place = ranks.astype(np.int64) - (vocabulary - EXACT_BITS)
    place = np.where(place >= 0, place, EXACT_BITS + ranks.astype(np.int64) % 64)
    cell = owner * SIGNATURE_WORDS + place // 64
    bits = np.zeros(count * SIGNATURE_WORDS, np.uint64)
    order = np.argsort(cell, kind="stable")
    if len(order):
        starts = np.flatnonzero(np.r_[True, np.diff(cell[order]) > 0])
        values = np.left_shift(np.uint64(1), (place % 64).astype(np.uint64))[order]
        bits[cell[order][starts]] = np.bitwise_or.reduceat(values, starts)
    return bits.reshape(count, SIGNATURE_WORDS)


def _write_vocabulary(folder: str, slices: Sequence[RowSlice]) -> None:
    """Write the nouns of two or more captions, rarest first and then alphabetically: their places are the ranks."""
    target = join(folder, "nouns", "vocabulary.parquet")
    if exists(target):
        return
    total = pa.table({"noun": pa.array([], pa.string()), "rows": pa.array([], pa.int64())})
    pending: list[pa.Table] = []
    for item in slices:
        pending.append(pq.read_table(local_path(_file(folder, "counts", item.number, "parquet"))))
        if len(pending) == 64 or item is slices[-1]:
            merged = pa.concat_tables([total, *pending]).group_by("noun").aggregate([("rows", "sum")])
            total, pending = merged.rename_columns(["noun", "rows"]), []
    shared = total.filter(pc.greater(total["rows"], 1))
    write_atomic(target, _parquet(shared.sort_by([("rows", "ascending"), ("noun", "ascending")])))


def _vocabulary(folder: str) -> pa.Table:
    return pq.read_table(local_path(join(folder, "nouns", "vocabulary.parquet")))


def captions_of(table: pa.Table, which: str) -> list[list[str]]:
    """The texts of each row, from the columns caption and captions: the embedded `caption`, or `all` distinct ones."""
    captions: list[str | None] = table["caption"].to_pylist()
    if which == "caption":
        return [[one] if one else [] for one in captions]
    pairs = zip(captions, table["captions"].to_pylist(), strict=True)
    return [list(dict.fromkeys(filter(None, [one, *(many or [])]))) for one, many in pairs]


def _same(text: str) -> bytes:
    return " ".join(text.casefold().split()).encode(errors="surrogatepass")


def _file(folder: str, name: str, number: int, ending: str) -> str:
    return join(folder, "nouns", f"{name}_{number:04d}.{ending}")


def _parquet(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def save_array(path: str, array: npt.NDArray[Any]) -> None:
    """Write a .npy file atomically."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    write_atomic(path, stream.getvalue())
