"""Keys of noun sets: two sets that share c nouns or more have a key in common.

Prefix filter (Chaudhuri, Ganti and Kaushik 2006; Bayardo, Ma and Srikant 2007): with nouns in one order, two sets that
share c nouns share one among the first |x| - c + 1 of each, and in general their first k shared nouns are among the
first |x| - c + k. A key is a path of nouns, rarest first: one noun where the list of sets with that key is expected to
be short, with the next noun added where it would be long (so "man" alone is never a key). When to add a noun depends on
the nouns and their counts only, so both sets of a pair have the same keys.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from index.hashing import GOLDEN_GAMMA, finalize64

__all__ = ["path_keys"]

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

# Nouns of a caption are not independent (shirt and man): per noun added, a list is expected to be this many times
# longer than for independent nouns. Measured on 30,000 photo captions: 2 to 8 for pairs of common nouns.
CORRELATION = 4.0


def path_keys(
    offsets: Ints, ranks: npt.NDArray[np.int32], frequency: npt.NDArray[np.float64], least: int, rows: int, light: int
) -> tuple[Keys, Ints]:
    """(keys uint64 [k], sets int64 [k]): set sets[i] is listed under keys[i].

    Args:
        offsets: [n + 1], ranks: the noun sets one after the other, each sorted, rarest noun first.
        frequency: [vocabulary], the part of the captions that each noun is in, ascending.
        least: the number of nouns to share, c. Sets with fewer have no keys.
        rows: number of captions in the join. light: the expected length up to which a list needs no further noun.
    """
    sizes = np.diff(offsets)
    log_frequency = np.log(frequency)
    log_correlation, log_light = np.log(CORRELATION), np.log(light / max(rows, 1))
    sets, place = _places(np.arange(len(sizes)), np.zeros(len(sizes), np.int64), np.maximum(sizes - least + 1, 0))
    key = _mix(np.zeros(len(sets), np.uint64), ranks[offsets[sets] + place])
    expected = log_frequency[ranks[offsets[sets] + place]]
    keys, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for depth in range(1, least + 1):
        done = (expected <= log_light) | (depth == least)
        keys.append(key[done])
        owners.append(sets[done])
        open_sets, open_place, open_key, open_expected = sets[~done], place[~done], key[~done], expected[~done]
        if not len(open_sets):
            break
        # The next shared noun comes after this one, among the first |x| - c + depth + 1.
        stop = sizes[open_sets] - least + depth + 1
        parent, place = _places(np.arange(len(open_sets)), open_place + 1, stop - open_place - 1)
        sets = open_sets[parent]
        noun = ranks[offsets[sets] + place]
        key = _mix(open_key[parent], noun)
        expected = open_expected[parent] + np.minimum(log_frequency[noun] + log_correlation, 0.0)
    return np.concatenate(keys), np.concatenate(owners)


def _places(owners: Ints, first: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """(owner, first), (owner, first + 1), ..., `counts` of each, as two arrays."""
    before = np.cumsum(counts) - counts
    return np.repeat(owners, counts), np.repeat(first - before, counts) + np.arange(int(counts.sum()))


def _mix(key: Keys, noun: npt.NDArray[np.int32]) -> Keys:
    """A 64-bit hash of the path so far and the next noun."""
    return finalize64((key * GOLDEN_GAMMA) ^ (noun.astype(np.uint64) + np.uint64(0x632BE59BD9B4E019)))
