"""Which annotations a view attaches to its sets, and where they are: read once, shared by all views made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mining.sets.image_set import ImageSet
from mining.sets.layouts import Layout

__all__ = ["Attached"]

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Attached:
    """kinds, annotators: only these; () for all. replaced: also annotations that another one replaces.

    Pickled with the index where it was read: 16 bytes an annotation.
    """

    layout: Layout
    kinds: tuple[str, ...] = ()
    annotators: tuple[str, ...] = ()
    replaced: bool = False

    @cached_property
    def index(self) -> tuple[Numbers, Numbers]:
        """(set int64 [m] ascending, annotation int64 [m]). Raises BadInput as `Annotations.index` does."""
        layout = self.layout
        return layout.annotations.index(layout.set_ids, self.kinds, self.annotators, self.replaced)

    @property
    def annotated(self) -> Numbers:
        """int64 [n]: the numbers of the sets that have such annotations, ascending."""
        return np.unique(self.index[0])

    def places(self, numbers: Numbers, with_turns: bool) -> tuple[Numbers, Numbers]:
        """(place int64 [m] ascending, annotation int64 [m]): the annotations of these sets, by place in `numbers`."""
        owners, annotations = self.index
        if with_turns:
            spoken = self.layout.annotations.turn_counts()[annotations] > 0
            owners, annotations = owners[spoken], annotations[spoken]
        firsts = np.searchsorted(owners, numbers)
        counts = np.searchsorted(owners, numbers, side="right") - firsts
        wanted = np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
        return np.repeat(np.arange(len(numbers)), counts), annotations[wanted]

    def attach(self, sets: Sequence[ImageSet], numbers: Numbers) -> list[ImageSet]:
        """The sets of these numbers, with their annotations."""
        owners, annotations = self.index
        first, last = np.searchsorted(owners, numbers), np.searchsorted(owners, numbers, side="right")
        counts = last - first
        starts = np.cumsum(counts) - counts
        wanted = np.repeat(first - starts, counts) + np.arange(int(counts.sum()))
        found = self.layout.annotations.read(annotations[wanted])
        return [
            replace(each, annotations=tuple(found[start : start + count]))
            for each, start, count in zip(sets, starts.tolist(), counts.tolist(), strict=True)
        ]
