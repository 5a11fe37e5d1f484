"""Candidates: the results of the searches for each concept, as flat arrays (27 bytes a candidate).

The hits of a concept's prompts are merged here, and candidates are written to and read from Parquet.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.files import atomic_file
from index.parquet import read_parquet

__all__ = [
    "MODES",
    "Candidates",
    "mark_both_ways",
    "merge_hits",
    "place_in_group",
    "read_candidates",
    "write_candidates",
]

MODES: tuple[Literal["t2i", "t2t"], ...] = ("t2i", "t2t")
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_TYPES: dict[str, type] = {
    "concept": np.int32,
    "prompt": np.int32,
    "mode": np.uint8,
    "row_id": np.int64,
    "score": np.float32,
    "rank": np.int32,
    "primary": np.bool_,
    "both_ways": np.bool_,
}


@dataclass(frozen=True)
class Candidates:
    """`n` candidates, each field of shape [n].

    concept: int32 index into the concept list; prompt: int32 index into the concept's prompts; mode: uint8 index into
    MODES; row_id: int64; score: float32 cosine; rank: int32, from 1, among the concept's candidates of that mode;
    primary: in the first K of at least one prompt (the others are overflow, kept for topping up); both_ways: found by
    text->image and by text->text.
    """

    concept: npt.NDArray[np.int32]
    prompt: npt.NDArray[np.int32]
    mode: npt.NDArray[np.uint8]
    row_id: IntArray
    score: npt.NDArray[np.float32]
    rank: npt.NDArray[np.int32]
    primary: BoolArray
    both_ways: BoolArray

    def __len__(self) -> int:
        return len(self.row_id)

    def take(self, chosen: npt.NDArray[Any]) -> Candidates:
        """The candidates at `chosen` (a boolean mask or an index array), in that order."""
        return Candidates(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def replace(self, **arrays: npt.NDArray[Any]) -> Candidates:
        """The candidates with some fields replaced."""
        return Candidates(**{field.name: arrays.get(field.name, getattr(self, field.name)) for field in fields(self)})

    @staticmethod
    def concatenate(parts: Sequence[Candidates]) -> Candidates:
        """All candidates of the parts, in order."""
        return Candidates(
            **{
                name: np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0, kind)
                for name, kind in _TYPES.items()
            }
        )


def merge_hits(
    concept: npt.NDArray[np.int32],
    prompt: npt.NDArray[np.int32],
    scores: npt.NDArray[np.float32],
    row_ids: IntArray,
    *,
    k: int,
    mode: int,
) -> Candidates:
    """Merge the hits of one mode, so that a concept has each row once, with its best score and that score's prompt.

    concept, prompt: int32 [q], of each query. scores: float32 [q, m], row_ids: int64 [q, m], best first, padded with
    -1, m >= k. The first k columns are the K rows of eq. 2.2 and 2.3; the columns beyond are overflow. mode: index into
    MODES. The result is in order of concept, then rank.
    """
    width = row_ids.shape[1]
    valid = row_ids.ravel() >= 0
    row = row_ids.ravel()[valid]
    score = scores.ravel()[valid]
    owner = np.repeat(concept, width)[valid]
    source = np.repeat(prompt, width)[valid]
    inside = np.tile(np.arange(width) < k, len(concept))[valid]

    order = np.lexsort((source, -score, row, owner))
    first = np.ones(len(order), np.bool_)
    first[1:] = (owner[order[1:]] != owner[order[:-1]]) | (row[order[1:]] != row[order[:-1]])
    starts = np.flatnonzero(first)
    best = order[starts]
    primary = np.logical_or.reduceat(inside[order], starts) if len(starts) else np.zeros(0, np.bool_)

    by_rank = np.lexsort((row[best], -score[best], ~primary, owner[best]))
    best, primary = best[by_rank], primary[by_rank]
    return Candidates(
        concept=owner[best].astype(np.int32),
        prompt=source[best].astype(np.int32),
        mode=np.full(len(best), mode, np.uint8),
        row_id=row[best].astype(np.int64),
        score=score[best].astype(np.float32),
        rank=(place_in_group(owner[best]) + 1).astype(np.int32),
        primary=primary,
        both_ways=np.zeros(len(best), np.bool_),
    )


def mark_both_ways(candidates: Candidates) -> Candidates:
    """The candidates with `both_ways` true for each pair of concept and row that occurs in both modes."""
    order = np.lexsort((candidates.row_id, candidates.concept))
    concept, row = candidates.concept[order], candidates.row_id[order]
    same = np.r_[(concept[1:] == concept[:-1]) & (row[1:] == row[:-1]), False]
    both_ways = np.zeros(len(order), np.bool_)
    both_ways[order] = same | np.r_[False, same[:-1]]
    return candidates.replace(both_ways=both_ways)


def place_in_group(group: npt.NDArray[Any]) -> IntArray:
    """int64 [n]: each element's place, from 0, within its run of equal values (`group` is sorted into runs)."""
    if not len(group):
        return np.zeros(0, np.int64)
    changes = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    lengths = np.diff(np.r_[changes, len(group)])
    return np.arange(len(group), dtype=np.int64) - np.repeat(changes, lengths)


def write_candidates(candidates: Candidates, path: str | os.PathLike[str]) -> None:
    """Write one Parquet file with a column for each field; it appears only when it is complete."""
    table = pa.table({name: pa.array(getattr(candidates, name)) for name in _TYPES})
    with atomic_file(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_candidates(path: str | os.PathLike[str]) -> Candidates:
    """Read a file of `write_candidates`; the arrays have the same types."""
    table = read_parquet(path)
    return Candidates(**{name: table.column(name).to_numpy().astype(kind, copy=False) for name, kind in _TYPES.items()})
