"""Cut sets of images into splits, such as train and test, so that no image is in two of them.

Images that share a set are kept together in clusters of bounded size. Without the bound a few popular images would tie
most sets of a large run into one component, which would all be train. Clusters are placed one by one, each in the split
where most of its ties lead, weighted by the room that the split has left (linear deterministic greedy, Stanton and
Kliot, KDD 2012). A set whose images still lie in different splits belongs to none: it straddles, and is counted. All
randomness comes from hashes of the seed and the images, so the same sets give the same splits in whatever order they
come. `mining.sets.near_images` makes near-duplicates one image before this.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.hashing import mix64

__all__ = ["STRADDLING", "Split", "short_splits", "split_sets"]

Sets = TypeVar("Sets", bound=Sized)
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

# A cluster has at most this part of the smallest split, so that splits can come near their shares.
_CLUSTER_SHARE = 0.25
# The split number of a set whose images are in different splits.
STRADDLING = -1


@dataclass(frozen=True)
class Split(Mapping[str, Sets]):
    """The splits by name; `straddling` has the sets with images in different splits, which belong to none.

    notes: sentences on what counted as one image, on what could not be checked, and on splits that are far too small.
    """

    splits: Mapping[str, Sets]
    straddling: Sets
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Sets:
        return self.splits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.splits)

    def __len__(self) -> int:
        return len(self.splits)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {count:,}" for name, count in self.counts().items())
        return "\n".join([f"Split({counts})", *(f"- {note}" for note in self.notes)])

    def counts(self) -> dict[str, int]:
        """Sets in each split, and those in none as "straddling"; they add up to the sets that were split."""
        return {**{name: len(sets) for name, sets in self.splits.items()}, "straddling": len(self.straddling)}


def split_sets(images: Ints, owners: Ints, count: int, shares: Mapping[str, float], seed: int = 0) -> Ints:
    """int64 [count]: for each set the place of its split in `shares`, or STRADDLING; 4 to 10 s, 1 GB a million pairs.

    Args:
        images: [m], any number from 0 that tells images apart. owners: [m], the set 0 .. count - 1 that each belongs
            to. Every set has one at least; for a set without images the caller makes up an image of its own.
        shares: name -> part of the sets, adding up to 1.

    Raises BadInput for other shares, or a split named "straddling".
    """
    names, parts = list(shares), np.array(list(shares.values()), np.float64)
    if not names or not (parts > 0).all() or not math.isclose(parts.sum(), 1, abs_tol=1e-6) or "straddling" in names:
        raise BadInput(
            f'split {dict(shares)}: give each split a part above 0, adding up to 1, as {{"train": 0.9, "test": 0.1}}'
        )
    distinct, members = np.unique(images, return_inverse=True)
    if (np.diff(owners) < 0).any():
        order = np.argsort(owners, kind="stable")
        members, owners = members[order], owners[order]
    starts = np.searchsorted(owners, np.arange(count + 1))
    hashes = mix64(distinct.astype(np.uint64) + mix64(np.array([seed], np.uint64)))
    if (np.diff(starts) == 0).any():
        raise ValueError("a set has no image")
    largest = int(np.diff(starts).max()) if count else 1
    most = max(largest, int(len(distinct) * parts.min() * _CLUSTER_SHARE))
    if not count:
        return np.empty(0, np.int64)
    clusters = _clusters(members, starts, hashes, most)
    of_members = _place(clusters, members, starts, hashes, parts * count)[clusters][members]
    lowest = np.minimum.reduceat(of_members, starts[:-1])
    highest = np.maximum.reduceat(of_members, starts[:-1])
    return np.where(lowest == highest, lowest, STRADDLING)


def short_splits(counts: Mapping[str, int], shares: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence for each split with less than half of its share of all sets. counts: as `Split.counts` gives them."""
    total = sum(counts.values())
    wanted = {name: round(share * total) for name, share in shares.items()}
    return tuple(
        f"{name} has {counts[name]:,} sets instead of {wanted[name]:,}: too many sets share images, or near-duplicates,"
        f" with sets of other splits ({counts['straddling']:,} sets straddle). To get the share, hold images out"
        " before mining: clipmine mine --hold-out SHARE"
        for name in shares
        if counts[name] < wanted[name] / 2
    )


def _clusters(members: Ints, starts: Ints, hashes: Hashes, most: int) -> Ints:
    """int64 [images]: each image's cluster, numbered from 0. Sets join their images, in the order of the sets' hashes,
    as long as their cluster has at most `most` images; so a component of at most that size stays whole."""
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
    """int64 [clusters]: the split of each cluster. wanted: sets that each split should have."""
    count = int(clusters.max()) + 1
    of_members = clusters[members]
    whole = np.minimum.reduceat(of_members, starts[:-1]) == np.maximum.reduceat(of_members, starts[:-1])
    inside = np.bincount(of_members[starts[:-1]][whole], minlength=count)
    # Ties: consecutive members of a set in different clusters, both ways, sorted by the cluster they start from.
    near = np.flatnonzero(np.diff(of_members) != 0)
    near = near[~np.isin(near + 1, starts)]
    one, other = of_members[near], of_members[near + 1]
    froms, tos = np.concatenate([one, other]), np.concatenate([other, one])
    order = np.argsort(froms, kind="stable")
    tos, first_ties = tos[order], np.searchsorted(froms[order], np.arange(count + 1)).tolist()
    lowest = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest, clusters, hashes)
    splits, have = np.full(count, -1, np.int64), np.zeros(len(wanted))
    counts = inside.tolist()
    for cluster in np.lexsort((lowest, -inside)).tolist():
        ties = splits[tos[first_ties[cluster] : first_ties[cluster + 1]]]
        tied = np.bincount(ties[ties >= 0], minlength=len(wanted))
        room = tied * np.maximum(0, 1 - (have + counts[cluster]) / wanted)
        split = int(room.argmax()) if room.any() else int(((have + counts[cluster] + tied) / wanted).argmin())
        splits[cluster] = split
        have[split] += counts[cluster] + tied[split]
    return splits


def _of_sets(members: Ints, starts: Ints, hashes: Hashes) -> Hashes:
    """A hash of each set that does not depend on the order of its images."""
    return mix64(np.add.reduceat(hashes[members], starts[:-1]))
