"""Cut image sets into sides, such as train and test, so that no image is on two of them.

Images that share a set are kept together, in clusters of bounded size: a few popular images tie most sets of a large
run into one giant component, which would otherwise all be train. Clusters are put on sides one by one, each where most
of its ties lead while that side has room (linear deterministic greedy, Stanton and Kliot, KDD 2012). A set whose images
still came to lie on different sides is on none: it straddles, and is counted. Chance comes from hashes of the seed and
the images alone, so the same sets give the same sides, whatever their order. Knows no image's content: near-duplicates
are the miner's to exclude.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from mining.sets.image_sets import ImageSets

__all__ = ["Split", "split"]

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

# A cluster is at most this part of the smallest side, so that sides can come near their shares.
_CLUSTER_SHARE = 0.25


@dataclass(frozen=True)
class Split(Mapping[str, ImageSets]):
    """The sides by name; `straddling` has the sets with images on different sides, which are on none."""

    sides: Mapping[str, ImageSets]
    straddling: ImageSets

    def __getitem__(self, name: str) -> ImageSets:
        return self.sides[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sides)

    def __len__(self) -> int:
        return len(self.sides)

    def __repr__(self) -> str:
        return f"Split({', '.join(f'{name}: {count:,}' for name, count in self.counts().items())})"

    def counts(self) -> dict[str, int]:
        """Sets on each side, and those on none as "straddling"; they add up to the sets that were split."""
        return {**{name: len(sets) for name, sets in self.sides.items()}, "straddling": len(self.straddling)}


def split(sets: ImageSets, shares: Mapping[str, float], seed: int = 0) -> Split:
    """Cut `sets` by `shares`, name -> part of the sets, adding up to 1. 4 to 10 s and 1 GB a million pairs.

    Shares are met where images hang together loosely. In a tight tangle sets are kept rather than shares: a million
    pairs by chance over 400,000 images, five an image, cut 8 : 1 : 1, give 800,000, 15,000 and 15,000 with 170,000
    straddling, where sides of the asked shares would lose half of the sets. `counts()` says. BadInput for other shares.
    """
    names, parts = list(shares), np.array(list(shares.values()), np.float64)
    if not names or not (parts > 0).all() or not math.isclose(parts.sum(), 1, abs_tol=1e-6) or "straddling" in names:
        raise BadInput(
            f'split {dict(shares)}: give each side a part above 0, adding up to 1, as {{"train": 0.9, "test": 0.1}}'
        )
    images, owners = sets.images()
    distinct, members = np.unique(images, return_inverse=True)
    starts = np.searchsorted(owners, np.arange(len(sets) + 1)) if _is_sorted(owners) else None
    if starts is None:  # a view in another order than the folder's
        order = np.argsort(owners, kind="stable")
        members, owners = members[order], owners[order]
        starts = np.searchsorted(owners, np.arange(len(sets) + 1))
    hashes = _mix(distinct.astype(np.uint64) + _mix(np.array([seed], np.uint64)))
    largest = int(np.diff(starts).max()) if len(sets) else 1
    most = max(largest, int(len(distinct) * parts.min() * _CLUSTER_SHARE))
    clusters = _clusters(members, starts, hashes, most)
    sides = _place(clusters, members, starts, hashes, parts * len(sets))[clusters]
    of_members = sides[members]
    lowest = np.minimum.reduceat(of_members, starts[:-1]) if len(sets) else of_members
    highest = np.maximum.reduceat(of_members, starts[:-1]) if len(sets) else of_members
    chosen = {name: sets.take(sets.numbers[(lowest == at) & (highest == at)]) for at, name in enumerate(names)}
    return Split(chosen, sets.take(sets.numbers[lowest != highest]))


def _is_sorted(values: Ints) -> bool:
    return bool((np.diff(values) >= 0).all())


def _clusters(members: Ints, starts: Ints, hashes: Hashes, most: int) -> Ints:
    """int64 [images]: each image's cluster, numbered from 0. Sets join their images, in the order of their hashes,
    as long as a cluster has at most `most` images; so a component that is no larger stays whole."""
    parent, size = list(range(len(hashes))), [1] * len(hashes)

    def root(image: int) -> int:
        while parent[image] != image:
            parent[image] = parent[parent[image]]
            image = parent[image]
        return image

    rows, bounds = members.tolist(), starts.tolist()
    for place in np.argsort(_of_sets(members, starts, hashes), kind="stable").tolist():
        first, *others = {root(image): None for image in rows[bounds[place] : bounds[place + 1]]}
        if others and size[first] + sum(size[other] for other in others) <= most:
            for other in others:
                parent[other] = first
                size[first] += size[other]
    roots = np.array([root(image) for image in range(len(parent))], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def _place(clusters: Ints, members: Ints, starts: Ints, hashes: Hashes, wanted: npt.NDArray[np.float64]) -> Ints:
    """int64 [clusters]: the side of each cluster. wanted: sets that each side should have."""
    count = int(clusters.max()) + 1 if len(clusters) else 0
    if not count:
        return np.zeros(0, np.int64)
    of_members = clusters[members]
    whole = np.minimum.reduceat(of_members, starts[:-1]) == np.maximum.reduceat(of_members, starts[:-1])
    inside = np.bincount(of_members[starts[:-1]][whole], minlength=count)
    # Ties: consecutive members of sets that reach over clusters, both ways, by the cluster they start from.
    near = np.flatnonzero(np.diff(of_members) != 0)
    near = near[~np.isin(near + 1, starts)]
    one, other = of_members[near], of_members[near + 1]
    froms, tos = np.concatenate([one, other]), np.concatenate([other, one])
    order = np.argsort(froms, kind="stable")
    tos, first_ties = tos[order], np.searchsorted(froms[order], np.arange(count + 1)).tolist()
    lowest = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest, clusters, hashes)
    sides, have = np.full(count, -1, np.int64), np.zeros(len(wanted))
    counts = inside.tolist()
    for cluster in np.lexsort((lowest, -inside)).tolist():
        ties = sides[tos[first_ties[cluster] : first_ties[cluster + 1]]]
        tied = np.bincount(ties[ties >= 0], minlength=len(wanted))
        room = tied * np.maximum(0, 1 - (have + counts[cluster]) / wanted)
        side = int(room.argmax()) if room.any() else int(((have + counts[cluster] + tied) / wanted).argmin())
        sides[cluster] = side
        have[side] += counts[cluster] + tied[side]
    return sides


def _of_sets(members: Ints, starts: Ints, hashes: Hashes) -> Hashes:
    """A hash of each set, from its images in whatever order."""
    if len(starts) < 2:
        return np.zeros(0, np.uint64)
    return _mix(np.add.reduceat(hashes[members], starts[:-1]))


def _mix(values: Hashes) -> Hashes:
    """splitmix64's finalizer (Steele, Lea and Flood, OOPSLA 2014); wraps around as it should."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
