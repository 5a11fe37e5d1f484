"""The nouns that two captions share, for many pairs at once; a compound and its words count once.

Captions are rows of a padded array of noun ranks. "tennis racket" also stands as "racket" in a caption's nouns, so that
it meets the rackets of other captions, and "tennis" may be there too. Where two captions share the compound, its words
say nothing more: they are not counted beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Parts", "compound_parts", "pad_sets", "ranges", "shared_mask", "without_parts"]

Ints = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

# Pairs compared noun by noun at a time: 65,536 x 20 x 20 comparisons are 26 MB.
_PAIRS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Parts:
    """For each noun, by rank, the nouns that are words of it.

    offsets int64 [vocabulary + 1], ranks int32: the parts of noun r are ranks[offsets[r] : offsets[r + 1]].
    """

    offsets: Ints
    ranks: Ranks

    @property
    def compound(self) -> Mask:
        """bool [vocabulary + 1]: which nouns have parts; False at the end, which padding (-1) refers to."""
        found: Mask = np.r_[np.diff(self.offsets) > 0, False]
        return found


def compound_parts(nouns: Sequence[str]) -> Parts:
    """The parts of each noun: the other nouns that are one or more consecutive words of it."""
    rank = {noun: place for place, noun in enumerate(nouns) if " " not in noun}
    compounds = {noun: place for place, noun in enumerate(nouns) if " " in noun}
    rank |= compounds
    sizes, found = np.zeros(len(nouns), np.int64), []
    for noun, place in compounds.items():
        words = noun.split(" ")
        count = len(words)
        spans = [" ".join(words[a:b]) for a in range(count) for b in range(a + 1, count + 1) if b - a < count]
        parts = sorted({rank[span] for span in spans if span in rank})
        sizes[place] = len(parts)
        found += parts
    return Parts(np.r_[0, np.cumsum(sizes)].astype(np.int64), np.array(found, np.int32))


def pad_sets(offsets: Ints, ranks: Ranks) -> Ranks:
    """int32 [n, longest]: the sets as rows, padded with -1."""
    sizes = np.diff(offsets)
    width = int(sizes.max()) if len(sizes) else 0
    padded = np.full((len(sizes), width), -1, np.int32)
    padded[np.arange(width) < sizes[:, None]] = ranks
    return padded


def shared_mask(padded: Ranks, one: Ints, other: Ints) -> Mask:
    """bool [n, longest]: which nouns of row one[i] are in row other[i] too."""
    mask = np.zeros((len(one), padded.shape[1]), np.bool_)
    for start in range(0, len(one), _PAIRS_AT_ONCE):
        a, b = padded[one[start : start + _PAIRS_AT_ONCE]], padded[other[start : start + _PAIRS_AT_ONCE]]
        b = np.where(b < 0, -2, b)
        for column in range(a.shape[1]):
            mask[start : start + _PAIRS_AT_ONCE, column] = (a[:, column, None] == b).any(axis=1)
    return mask


def without_parts(mask: Mask, padded: Ranks, one: Ints, parts: Parts) -> Mask:
    """`mask` [n, longest] of the shared nouns of row one[i], without nouns that are words of another shared noun."""
    pair, column = np.nonzero(mask & parts.compound[padded][one])
    if not len(pair):
        return mask
    noun = padded[one[pair], column].astype(np.int64)
    sizes = parts.offsets[noun + 1] - parts.offsets[noun]
    pair, part = np.repeat(pair, sizes), parts.ranks[ranges(parts.offsets[noun], sizes)]
    which, column = np.nonzero(padded[one[pair]] == part[:, None])
    kept = mask.copy()
    kept[pair[which], column] = False
    return kept


def ranges(first: Ints, size: Ints) -> Ints:
    """first[0], first[0] + 1, ... (size[0] of them), first[1], ..."""
    before = np.cumsum(size) - size
    found: Ints = np.repeat(first - before, size) + np.arange(int(size.sum()))
    return found
