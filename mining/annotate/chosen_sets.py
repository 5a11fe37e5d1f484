"""Which sets of a folder a run annotates: filters, a share of the folder for one of several machines, a drawn number.

What is chosen does not depend on what was annotated before, so that a run that is started again chooses the same sets;
`not_annotated` is the exception, and is meant for a part of another name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index.errors import BadInput
from index.hashing import hash_rows
from mining.sets.image_sets import ImageSets

__all__ = ["SetChoice", "choose_sets", "parse_shard", "shard_name"]


@dataclass(frozen=True)
class SetChoice:
    """strategy, split: only sets of these; () is all. annotated, not_annotated: with, without annotations of a kind.

    limit: so many sets, drawn by `seed`; a greater limit adds sets to those of a smaller one. shard: (place from 1,
    of how many): one of equal shares of the folder, the same whatever the filters.
    """

    strategy: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    annotated: str | None = None
    not_annotated: str | None = None
    limit: int | None = None
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise BadInput(f"--limit must be at least 1, not {self.limit}")
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise BadInput(f"--shard is a place and a number of machines, as 2/8, not {self.shard[0]}/{self.shard[1]}")


def choose_sets(sets: ImageSets, choice: SetChoice, seed: int = 0) -> ImageSets:
    """The view of the chosen sets, in the folder's order; sets that were rejected on the page are left out.

    Raises BadInput for a strategy, split or kind that the folder does not have, and where no set is left.
    """
    found = sets.kept().filter(
        strategy=choice.strategy or None, split=choice.split or None, annotated=choice.annotated or None
    )
    numbers = found.numbers
    if choice.not_annotated is not None and any(kind == choice.not_annotated for kind, _ in sets.annotations.counts()):
        numbers = np.setdiff1d(numbers, sets.filter(annotated=choice.not_annotated).numbers, assume_unique=True)
    drawn = hash_rows(numbers[:, None], seed)
    if choice.shard is not None:
        place, of = choice.shard
        # A hash of its own: a share of the sets that `limit` draws is to be as large as any.
        own = hash_rows(numbers[:, None], -1) % np.uint64(of) == np.uint64(place - 1)
        numbers, drawn = numbers[own], drawn[own]
    if choice.limit is not None and choice.limit < len(numbers):
        numbers = np.sort(numbers[np.argsort(drawn, kind="stable")[: choice.limit]])
    if not len(numbers):
        raise BadInput(f"{sets.path}: no set is left to annotate; it has {len(sets):,} sets before the filters")
    places = np.searchsorted(sets.numbers, numbers)
    return sets.select(places)


def parse_shard(text: str) -> tuple[int, int]:
    """ "2/8" as (2, 8). Raises BadInput for anything else."""
    place, slash, of = text.partition("/")
    if not (slash and place.isdigit() and of.isdigit()):
        raise BadInput(f"--shard {text}: a place and a number of machines, as 2/8")
    return int(place), int(of)


def shard_name(name: str, shard: Sequence[int] | None) -> str:
    """The name of a shard's part: `name-2-of-8`."""
    return name if shard is None else f"{name}-{shard[0]}-of-{shard[1]}"
