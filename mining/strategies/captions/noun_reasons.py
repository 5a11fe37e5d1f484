"""What the proposed pairs share, in words: the table of candidates, whose parts are written by items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.files import atomic_file, exists, join, local_path
from mining.strategies.captions.caption_rows import captions_of
from mining.strategies.captions.noun_sets import NounSets
from mining.strategies.captions.shared_nouns import pad_sets, shared_mask, without_parts
from mining.strategies.context import CANDIDATES_SCHEMA, MapItems, MiningContext, candidates_table
from mining.strategies.neighbors.work_arrays import save_array

__all__ = ["HARDEST", "ReasonsItem", "difficulty_of", "explain_pairs"]

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

# Pairs of an item; with `--captions all` their captions take about 100 MB.
ITEM_PAIRS = 65_536
# The number of shared nouns from which a pair counts as hardest to tell apart; CaD-QA's pairs begin at 8.
HARDEST = 9


@dataclass(frozen=True)
class ReasonsItem:
    """The pairs first .. last - 1 of pairs.npy in the folder of the noun sets."""

    number: int
    folder: str
    first: int
    last: int


def difficulty_of(levels: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """float64 [n]: shared nouns / 9, at most 1. The more two captions share, the less tells the images apart."""
    return np.minimum(levels / HARDEST, 1.0)


def explain_pairs(ctx: MiningContext, map_items: MapItems, sets: NounSets, pairs: Ints) -> pa.Table:
    """CANDIDATES_SCHEMA for pairs [n, 3] (positions a < b, level), in their order."""
    save_array(join(sets.folder, "pairs.npy"), pairs)
    starts = range(0, len(pairs), ITEM_PAIRS)
    items = [
        ReasonsItem(number, sets.folder, start, min(start + ITEM_PAIRS, len(pairs)))
        for number, start in enumerate(starts)
    ]
    map_items(explain_item, items, "overlap: reasons")
    tables = [pa.ipc.open_file(pa.memory_map(str(local_path(_file(item))))).read_all() for item in items]
    return pa.concat_tables([CANDIDATES_SCHEMA.empty_table(), *tables])


def explain_item(item: ReasonsItem, ctx: MiningContext) -> int:
    """Write the candidates of an item; returns their number."""
    target = _file(item)
    if exists(target):
        return item.last - item.first
    sets = NounSets(item.folder)
    pairs: Ints = np.load(local_path(join(item.folder, "pairs.npy")), mmap_mode="r")[item.first : item.last]
    positions, places = np.unique(pairs[:, :2], return_inverse=True)
    places = places.reshape(-1, 2)
    one, other = places.T
    offsets, ranks = sets.ranks(positions)
    padded = pad_sets(offsets, ranks)
    mask = without_parts(shared_mask(padded, one, other), padded, one, sets.parts)
    nouns = sets.nouns.take(pa.array(padded[one][mask])).combine_chunks().cast(pa.string())
    lengths = mask.sum(axis=1)
    ends = np.r_[0, np.cumsum(lengths)].astype(np.int32)
    names = nouns.to_pylist()
    reasons = [
        f"share {size} noun{'s' if size != 1 else ''}: {', '.join(names[start : start + size])}"
        for start, size in zip(ends.tolist(), lengths.tolist(), strict=False)
    ]
    rows = sets.take("rows", positions).astype(np.int64)
    columns = {"shared_nouns": pa.ListArray.from_arrays(pa.array(ends), nouns)}
    if ctx.config.captions == "all":
        texts = captions_of(ctx.open_store().metadata(rows, ["caption", "captions"]), "all")
        own = list(
            zip(np.split(ranks, offsets[1:-1]), np.split(sets.said(positions), offsets[1:-1]), texts, strict=True)
        )
        columns["member_captions"] = pa.array(
            [
                [naming_texts(nouns, *own[place]) for place in pair]
                for nouns, pair in zip(np.split(padded[one][mask], ends[1:-1]), places.tolist(), strict=True)
            ],
            pa.list_(pa.string()),
        )
    table = candidates_table(
        rows[places],
        level=lengths,
        difficulty=difficulty_of(lengths),
        reasons=[pa.array(reasons, pa.string())],
        **columns,
    )
    with atomic_file(target) as partial, pa.OSFile(str(partial), "wb") as sink:  # noqa: SIM117
        with pa.ipc.new_file(sink, table.schema) as stream:
            stream.write_table(table)
    return len(pairs)


def naming_texts(nouns: npt.NDArray[np.int32], ranks: npt.NDArray[np.int32], said: Words, texts: Sequence[str]) -> str:
    """The captions of a row that name `nouns`, as few as a greedy choice takes, as one text.

    ranks, said: the row's nouns, ascending, and for each the captions that have it, bit i for texts[i].
    """
    chosen = fewest(said[np.searchsorted(ranks, nouns)].tolist(), len(texts))
    if len(chosen) == 1:
        return texts[chosen[0]]
    stripped = [texts[place].rstrip() for place in chosen]
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in stripped)


def fewest(naming: Sequence[int], captions: int) -> list[int]:
    """The captions, ascending, that together name all nouns: again and again the one that names most of the rest.

    naming: for each noun the captions that have it, bit i for caption i.
    """
    left, chosen = [bits for bits in naming if bits], []
    while left:
        counts = [sum(bits >> place & 1 for bits in left) for place in range(min(captions, 64))]
        best = max(range(len(counts)), key=counts.__getitem__)
        if not counts[best]:
            break
        chosen.append(best)
        left = [bits for bits in left if not bits >> best & 1]
    return sorted(chosen)


def _file(item: ReasonsItem) -> str:
    return join(item.folder, "reasons", f"candidates_{item.number:05d}.arrow")
