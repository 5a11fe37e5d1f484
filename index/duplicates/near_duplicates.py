"""Groups of images that are one picture: pairs whose vectors have a cosine from a limit on, and chains of such pairs.

    groups = near_duplicate_groups(vectors, 0.94)      # int64 [n]: equal numbers, one picture

Up to `EXACT` images all pairs are compared. Above that images are clustered (spherical k-means), and each is compared
with the images of the `PROBES` clusters nearest to it (an inverted file: Sivic and Zisserman, "Video Google", ICCV
2003). `python -m benchmarks.near_duplicates` measures the share of pairs that this finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from index.duplicates.components import join_groups, members_of
from index.graph.cells import GRID, train_cells
from index.graph.groups import by_group
from index.store.embedding_store import EmbeddingStore, Modality

__all__ = [
    "EXACT",
    "NEAR_DUPLICATES",
    "PROBES",
    "SUMMED",
    "Pairs",
    "StoreVectors",
    "Vectors",
    "close_pairs",
    "near_duplicate_groups",
    "near_duplicate_pairs",
    "surely_close",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Pairs = tuple[Ints, Ints]

# Cosine similarity from which two images count as the same picture: clip-retrieval's limit for duplicates, and the
# default of `--near-duplicates` of `clipmine mine` and `clipmine retrieve`. Another model may need another value.
NEAR_DUPLICATES = 0.94

EXACT = 50_000
PROBES = 16
# Cells for each square root of the number of images, and images of a cell that k-means learns from.
_CELLS, _SAMPLED = 2, 32
# Images on the two sides of a matrix product: 32 MB of similarities.
_TILE, _WIDE = 1_024, 8_192
# Within this of the limit a pair is decided by a sum of its own: the last bits of a matrix product depend on the tile.
_MARGIN = 1e-4
# Pairs that are summed one by one at a time: 64 MB at 512 dimensions.
SUMMED = 16_384
# Pairs that are held before they are joined: 64 MB.
_JOINED = 4_000_000
# Images with which those of a large cell are compared first; images close to the same one are not compared with each
# other, since a million copies of one placeholder would be 5 x 10^11 pairs.
_LEADERS = 32


class Vectors(Protocol):
    """Unit vectors [n, d], float16 or float32, read by places int64 [m]: an array, or StoreVectors."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Any, /) -> npt.NDArray[Any]: ...


@dataclass(frozen=True)
class StoreVectors:
    """The vectors of `rows` of a store, read from its files as they are needed."""

    store: EmbeddingStore
    rows: Ints
    modality: Modality = "image"

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: Any, /) -> npt.NDArray[Any]:
        return self.store.gather(self.modality, self.rows[places])


@dataclass(frozen=True)
class _Some:
    """Those of the vectors that are at `places`."""

    vectors: Vectors
    places: Ints

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, places: Any, /) -> npt.NDArray[Any]:
        return self.vectors[self.places[places]]


def near_duplicate_groups(
    vectors: Vectors,
    threshold: float,
    equal: Sequence[Ints] = (),
    *,
    exact: int = EXACT,
    probes: int = PROBES,
    within: Ints | None = None,
) -> Ints:
    """int64 [n]: the group of each image, as the place of the group's first image.

    Two images share a group if their cosine is at least `threshold`, if an array of `equal` has one number for both, or
    if a chain of such pairs leads from one to the other; so two images of a group may be less alike than `threshold`.

    Memory beside the vectors: about 100 bytes an image, 300 MB for the tiles, and above `exact` images the sample that
    clusters are learned from: at 512 dimensions 0.5 GB for a million images, growing with the root of their number.

    Args:
        vectors: a vector of zeros or with a NaN, as of an image that was never embedded, is close to no other.
        equal: arrays int64 [n], such as numbers that stand for SHA-256 sums; negative where unknown.
        exact: the most images of which all pairs are compared. probes: as PROBES.
        within: int64 [n], as `near_duplicate_pairs` takes it.
    """
    group = np.arange(len(vectors), dtype=np.int64)
    for numbers in equal:
        known = np.flatnonzero(numbers >= 0)
        _, first, back = np.unique(numbers[known], return_index=True, return_inverse=True)
        group = join_groups(group, known, known[first[back.reshape(-1)]])
    waiting: list[Pairs] = []
    for one, other in near_duplicate_pairs(vectors, threshold, exact=exact, probes=probes, within=within):
        waiting.append((one, other))
        if sum(len(each) for each, _ in waiting) >= _JOINED:
            group = _join_all(group, waiting)
            waiting = []
    return _join_all(group, waiting)


def near_duplicate_pairs(
    vectors: Vectors, threshold: float, *, exact: int = EXACT, probes: int = PROBES, within: Ints | None = None
) -> Iterator[Pairs]:
    """Yield (one, other), places int64 [m] each, of pairs with a cosine of at least `threshold`, piece by piece.

    A pair may come twice, in any order. Of images that are all close to one image only the pairs with that one may
    come; the groups are the same.

    within: int64 [n], numbers of known groups (`index.duplicates.stored_groups`) such that no two images of different
        groups are near-duplicates, -1 for an image that is none's; only images of one group are compared. Where there
        are no more than `exact` images it is not used.
    """
    count = len(vectors)
    everything = np.arange(count, dtype=np.int64)
    if count <= exact:
        yield from close_pairs(vectors, everything, everything, threshold)
        return
    if within is not None:
        for own in members_of(within):
            if len(own) <= exact:
                yield from close_pairs(vectors, own, own, threshold)
            else:
                pairs = near_duplicate_pairs(_Some(vectors, own), threshold, exact=exact, probes=probes)
                yield from ((own[one], own[other]) for one, other in pairs)
        return
    nearest = _nearest_cells(vectors, max(1, int(_CELLS * count**0.5)), probes)
    cells = int(nearest.max()) + 1
    members, visitors = by_group(nearest[:, :1], cells), by_group(nearest, cells)
    for own, some in zip(members, visitors, strict=True):
        if len(own):
            yield from close_pairs(vectors, some, own, threshold)


def _join_all(group: Ints, waiting: Sequence[Pairs]) -> Ints:
    if not waiting:
        return group
    return join_groups(group, *(np.concatenate(side) for side in zip(*waiting, strict=True)))


def close_pairs(vectors: Vectors, some: Ints, others: Ints, threshold: float) -> Iterator[Pairs]:
    """Yield the pairs with a cosine of at least `threshold` between two ascending lists of places, none of them empty.

    Where both are the same array, half of the tiles are compared.
    """
    triangle = some is others
    closest = np.full(len(some), -1, np.int64)  # the leader that an image is close to
    closest_other = closest if triangle else np.full(len(others), -1, np.int64)
    if len(others) > _TILE:
        leaders = others[np.linspace(0, len(others) - 1, _LEADERS).astype(np.int64)]
        closest = _close_to(vectors, some, leaders, threshold)
        led = closest >= 0
        yield some[led], closest[led]
        # Sorted, so that most tiles of such images have a single leader.
        order = np.argsort(closest, kind="stable")
        some, closest = some[order], closest[order]
        if triangle:
            others, closest_other = some, closest
        else:
            closest_other = _close_to(vectors, others, leaders, threshold)
            order = np.argsort(closest_other, kind="stable")
            others, closest_other = others[order], closest_other[order]
    for start in range(0, len(some), _TILE):
        rows = some[start : start + _TILE]
        left = _read(vectors, rows)
        for begin in range(start if triangle else 0, len(others), _WIDE):
            columns = others[begin : begin + _WIDE]
            if not _one_leader(closest[start : start + _TILE], closest_other[begin : begin + _WIDE]):
                yield _pairs_of_tiles(left, _read(vectors, columns), rows, columns, threshold)


def _one_leader(closest: Ints, closest_other: Ints) -> bool:
    """Whether all images of both tiles are close to the same leader, and so in one group already."""
    leader = closest[0]
    return bool(leader >= 0 and (closest == leader).all() and (closest_other == leader).all())


def _pairs_of_tiles(left: Floats, right: Floats, rows: Ints, columns: Ints, threshold: float) -> Pairs:
    """The pairs of two tiles [a, d], [b, d] of vectors, as the places `rows` [a] and `columns` [b] name them."""
    cosine = left @ right.T
    one, other = np.nonzero(cosine >= threshold - _MARGIN)
    value = cosine[one, other]
    good = (value >= threshold + _MARGIN) & (rows[one] != columns[other])
    unsure = np.flatnonzero((value < threshold + _MARGIN) & (rows[one] != columns[other]))
    for start in range(0, len(unsure), SUMMED):
        some = unsure[start : start + SUMMED]
        good[some] = surely_close(left[one[some]], right[other[some]], threshold)
    return rows[one[good]], columns[other[good]]


def surely_close(left: Floats, right: Floats, threshold: float) -> npt.NDArray[np.bool_]:
    """bool [n]: which pairs of float32 rows [n, d] have a cosine of at least `threshold`, each by a sum of its own."""
    close: npt.NDArray[np.bool_] = np.einsum("ij,ij->i", left, right) >= threshold
    return close


def _close_to(vectors: Vectors, places: Ints, leaders: Ints, threshold: float) -> Ints:
    """int64 [n]: for each place the first leader whose cosine is surely above the threshold, or -1."""
    found = np.full(len(places), -1, np.int64)
    led_by = _read(vectors, leaders)
    for start in range(0, len(places), _WIDE):
        close = _read(vectors, places[start : start + _WIDE]) @ led_by.T >= threshold + _MARGIN
        found[start : start + _WIDE] = np.where(close.any(axis=1), leaders[close.argmax(axis=1)], -1)
    return found


def _nearest_cells(vectors: Vectors, cells: int, probes: int) -> npt.NDArray[np.int32]:
    """int32 [n, probes]: the cells whose centers are nearest to each image, its own first."""
    count = len(vectors)
    drawn = np.random.default_rng(0).choice(count, min(_SAMPLED * cells, count), replace=False)
    centers = train_cells(_read(vectors, np.sort(drawn)), cells) / np.float32(GRID)
    probes = min(probes, len(centers))
    nearest = np.empty((count, probes), np.int32)
    for start in range(0, count, _WIDE):
        cosine = _read(vectors, np.arange(start, min(start + _WIDE, count))) @ centers.T
        nearest[start : start + _WIDE] = np.argpartition(-cosine, range(probes), axis=1)[:, :probes]
    return nearest


def _read(vectors: Vectors, places: Ints) -> Floats:
    """float32 [m, d]; zeros where a vector has a NaN or an infinity."""
    some: Floats = vectors[places].astype(np.float32)
    some[~np.isfinite(some).all(axis=1)] = 0
    return some
