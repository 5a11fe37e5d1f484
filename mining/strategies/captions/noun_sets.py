"""The nouns of all captions as sorted integer sets on disk, the input of the pairs of `overlap`.

They are written in two maps: `extract_item` writes the nouns of an item's rows and their counts; once all counts are
known, `encode_item` writes the nouns as ranks, the rarest noun first. A noun of only one caption can't be shared, so it
has no rank. `NounSets` reads the sets by position.
"""

from __future__ import annotations

import functools
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
from index.parquet import read_parquet
from index.store.embedding_store import EmbeddingStore
from mining.strategies.captions.caption_rows import ITEM_ROWS, RowSlice, captions_of, row_slices, rows_of
from mining.strategies.captions.shared_nouns import Parts, compound_parts, ranges
from mining.strategies.context import MapItems, MiningContext
from mining.strategies.minable import minable_rows
from mining.strategies.neighbors.work_arrays import save_array
from mining.text.nouns import CAPTION_NOUNS, NounExtractor, noun_extractor

__all__ = [
    "EXACT_BITS",
    "NounSets",
    "NounsItem",
    "make_noun_sets",
]

Ints = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

# The signature of a set: a bit for each of the 192 commonest nouns, and a word of hashed bits for all others.
EXACT_BITS, SIGNATURE_WORDS = 192, 4
# Texts in the sample on which the share of different texts is measured.
SAMPLED_TEXTS = 1 << 20
# The captions of a row are marked by 64 bits; this is the last bit, which all later captions share.
_LAST_PLACE = 63


@dataclass(frozen=True)
class NounsItem:
    """The rows that one call reads, and the folder of the noun sets."""

    folder: str
    rows: RowSlice


def make_noun_sets(ctx: MiningContext, map_items: MapItems, most: int | None = None) -> NounSets:
    """Run both maps and open the result; finished items are kept.

    most: about how many rows to parse, drawn by the seed where there are more; None for all.
    """
    count = minable_rows(ctx, ctx.open_store()).count
    drawn = most is not None and most < count
    folder = join(ctx.folder, f"nouns_of_{most}" if drawn else "nouns")
    make_folder(folder)
    items = [NounsItem(folder, rows) for rows in row_slices(count, most)]
    map_items(extract_item, items, "overlap: nouns")
    _write_vocabulary(folder, items)
    counts = map_items(encode_item, items, "overlap: noun sets")
    save_array(join(folder, "starts.npy"), np.cumsum([0, *counts], dtype=np.int64))
    return NounSets(folder)


def extract_item(item: NounsItem, ctx: MiningContext) -> int:
    """Write a table (row, caption: a hash of the text, nouns) for an item, and how many of its rows have each noun.

    With `--captions all` the column `said` marks which captions of a row have the noun: bit i for caption i.
    """
    number = item.rows.number
    target = _file(item.folder, "nouns", number, "parquet")
    if exists(target):
        return number
    store = ctx.open_store()
    rows = rows_of(item.rows, ctx, minable_rows(ctx, store))
    starts = range(0, max(len(rows), 1), ITEM_ROWS)  # texts take much more memory than nouns
    table = pa.concat_tables([_nouns_table(ctx, store, rows[start : start + ITEM_ROWS]) for start in starts])
    counted = pc.value_counts(table["nouns"].combine_chunks().flatten())
    counts = pa.table({"noun": counted.field("values"), "rows": counted.field("counts")})
    write_atomic(_file(item.folder, "counts", number, "parquet"), _parquet(counts))
    write_atomic(target, _parquet(table))
    return number


def _nouns_table(ctx: MiningContext, store: EmbeddingStore, rows: Ints) -> pa.Table:
    lists = captions_of(store.metadata(rows, ["caption", "captions"]), ctx.config.captions)
    texts = ["\n".join(each) for each in lists]
    hashes = [int.from_bytes(hashlib.blake2b(_same(text), digest_size=8).digest(), "little") for text in texts]
    extractor = noun_extractor(ctx.config.nouns, ctx.config.names)
    columns = {"row": pa.array(rows), "caption": pa.array(hashes, pa.uint64())}
    if ctx.config.captions == "all":
        found = _nouns_of_all(lists, extractor)
        columns["nouns"] = pa.array([list(each) for each in found], pa.list_(pa.string()))
        columns["said"] = pa.array([list(each.values()) for each in found], pa.list_(pa.uint64()))
    else:
        columns["nouns"] = pa.array(extractor(texts), pa.list_(pa.string()))
    return pa.table(columns)


def _nouns_of_all(lists: Sequence[Sequence[str]], extractor: NounExtractor) -> list[dict[str, int]]:
    """For each row its nouns, with the captions that have them as bits; the first `CAPTION_NOUNS` at most."""
    found = iter(extractor([text for each in lists for text in each]))
    rows = []
    for each in lists:
        said: dict[str, int] = {}
        for place in range(len(each)):
            for noun in next(found):
                said[noun] = said.get(noun, 0) | 1 << min(place, _LAST_PLACE)
        rows.append(dict(list(said.items())[:CAPTION_NOUNS]))
    return rows


def encode_item(item: NounsItem, ctx: MiningContext) -> int:
    """Write an item's sets as ranks: rows, captions, offsets, ranks, signatures, said; returns its number of rows."""
    number = item.rows.number
    rows_file = _file(item.folder, "rows", number, "npy")
    if exists(rows_file):
        return len(np.load(local_path(rows_file), mmap_mode="r"))
    table = read_parquet(_file(item.folder, "nouns", number, "parquet"))
    vocabulary = _vocabulary(item.folder)["noun"].combine_chunks()
    nouns = table["nouns"].combine_chunks()
    found = pc.index_in(nouns.flatten(), value_set=vocabulary)
    owner = np.repeat(np.arange(len(nouns)), np.diff(nouns.offsets.to_numpy()))
    known = found.is_valid().to_numpy(zero_copy_only=False)
    owner, ranks = owner[known], found.drop_null().to_numpy().astype(np.int64)
    order = np.argsort((owner << 32) | ranks)
    owner, ranks = owner[order], ranks[order].astype(np.int32)
    parts = {
        "captions": table["caption"].to_numpy(),
        "offsets": np.searchsorted(owner, np.arange(len(nouns) + 1)).astype(np.int64),
        "ranks": ranks,
        "bits": _signatures(owner, ranks, len(nouns), len(vocabulary)),
    }
    if "said" in table.column_names:
        parts["said"] = table["said"].combine_chunks().flatten().to_numpy()[known][order]
    parts["rows"] = table["row"].to_numpy()  # written last: it marks the item as finished
    for name, array in parts.items():
        save_array(_file(item.folder, name, number, "npy"), array)
    return len(nouns)


class NounSets:
    """Reads the sets of rows by position, 0 .. count - 1 in the order of the rows; can be opened on any worker."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.starts: Ints = np.load(local_path(join(folder, "starts.npy")))
        table = _vocabulary(folder)
        self.nouns: pa.ChunkedArray = table["noun"]
        self.noun_rows: Ints = table["rows"].to_numpy()
        self._parts: pa.ListArray = table["parts"].combine_chunks()

    @property
    def count(self) -> int:
        return int(self.starts[-1])

    @property
    def items(self) -> int:
        return len(self.starts) - 1

    @functools.cached_property
    def parts(self) -> Parts:
        """Which nouns are words of another noun."""
        return Parts(self._parts.offsets.to_numpy().astype(np.int64), self._parts.flatten().to_numpy())

    def part(self, name: str, item: int) -> npt.NDArray[Any]:
        """One array of an item, memory-mapped: rows, captions, offsets, ranks, bits or said."""
        array: npt.NDArray[Any] = np.load(local_path(_file(self.folder, name, item, "npy")), mmap_mode="r")
        return array

    def take(self, name: str, positions: Ints) -> npt.NDArray[Any]:
        """rows int64 [n], captions uint64 [n] or bits uint64 [n, 4] at ascending positions."""
        return np.concatenate([self.part(name, item)[places] for item, places in self._by_item(positions)])

    def ranks(self, positions: Ints) -> tuple[Ints, Ranks]:
        """(offsets [n + 1], ranks): the sets at ascending positions, one after the other."""
        return self._entries("ranks", positions, np.int32)

    def said(self, positions: Ints) -> Words:
        """uint64, one for each of `ranks(positions)`: the captions of the row that have the noun, bit i for caption i.

        Only with `--captions all`.
        """
        return self._entries("said", positions, np.uint64)[1]

    def different_share(self) -> float:
        """The part of the captions that is left if a text on several images counts once, by a sample of the texts."""
        limit = np.uint64(int((1 << 64) * min(1.0, SAMPLED_TEXTS / max(self.count, 1))) - 1)
        found = [np.empty(0, np.uint64)]
        for item in range(self.items):
            captions = np.asarray(self.part("captions", item))
            found.append(captions[captions <= limit])
        hashes = np.concatenate(found)
        return len(np.unique(hashes)) / max(len(hashes), 1)

    def _entries(self, name: str, positions: Ints, dtype: Any) -> tuple[Ints, npt.NDArray[Any]]:
        sizes, pieces = [np.zeros(1, np.int64)], [np.empty(0, dtype)]
        for item, places in self._by_item(positions):
            offsets = self.part("offsets", item)
            first, size = offsets[places].astype(np.int64), (offsets[places + 1] - offsets[places]).astype(np.int64)
            sizes.append(size)
            pieces.append(self.part(name, item)[ranges(first, size)].astype(dtype))
        return np.cumsum(np.concatenate(sizes)), np.concatenate(pieces)

    def _by_item(self, positions: Ints) -> list[tuple[int, Ints]]:
        bounds = np.searchsorted(positions, self.starts)
        touched = np.flatnonzero(np.diff(bounds))
        found = [(int(item), positions[bounds[item] : bounds[item + 1]] - self.starts[item]) for item in touched]
        return found or [(0, np.empty(0, np.int64))]


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


def _write_vocabulary(folder: str, items: Sequence[NounsItem]) -> None:
    """Write the nouns of two or more captions, rarest first and then alphabetically: their places are the ranks."""
    target = join(folder, "vocabulary.parquet")
    if exists(target):
        return
    total = pa.table({"noun": pa.array([], pa.string()), "rows": pa.array([], pa.int64())})
    pending: list[pa.Table] = []
    for item in items:
        pending.append(read_parquet(_file(folder, "counts", item.rows.number, "parquet")))
        if len(pending) == 64 or item is items[-1]:
            merged = (
                pa.concat_tables([total, *pending]).group_by("noun", use_threads=False).aggregate([("rows", "sum")])
            )
            total, pending = merged.rename_columns(["noun", "rows"]), []
    shared = total.filter(pc.greater(total["rows"], 1)).sort_by([("rows", "ascending"), ("noun", "ascending")])
    parts = compound_parts(shared["noun"].to_pylist())
    lists = pa.ListArray.from_arrays(pa.array(parts.offsets.astype(np.int32)), pa.array(parts.ranks))
    write_atomic(target, _parquet(shared.append_column("parts", lists)))


def _vocabulary(folder: str) -> pa.Table:
    return read_parquet(join(folder, "vocabulary.parquet"))


def _same(text: str) -> bytes:
    return " ".join(text.casefold().split()).encode(errors="surrogatepass")


def _file(folder: str, name: str, number: int, ending: str) -> str:
    return join(folder, f"{name}_{number:04d}.{ending}")


def _parquet(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()
