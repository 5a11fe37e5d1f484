"""Which annotations a view attaches to its sets, and where they are: read once, shared by all views made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt

from mining.sets.image_set import ImageSet
from mining.sets.layouts import Layout

__all__ = ["Attached", "Names", "names_of"]

Numbers = npt.NDArray[np.int64]
# One name or several.
Names = str | Sequence[str]


@dataclass(frozen=True)
class Attached:
    """kinds, annotators: only these; () for all. replaced: also annotations that another one replaces.

    What replaces an annotation by one of the annotators counts as by that one too.

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
    def unrestricted(self) -> bool:
        """Whether neither a kind nor an annotator is asked for."""
        return not self.kinds and not self.annotators

    def __str__(self) -> str:
        """What is asked for: "annotation of kind question by llava"."""
        kinds = f" of kind {' or '.join(self.kinds)}" if self.kinds else ""
        return f"annotation{kinds}{' by ' + ' or '.join(self.annotators) if self.annotators else ''}"

    @property
    def annotated(self) -> Numbers:
        """int64 [n]: the numbers of the sets that have such annotations, ascending."""
        return np.unique(self.index[0])

    def places(self, numbers: Numbers, with_turns: bool = False) -> tuple[Numbers, Numbers]:
        """(place int64 [m] ascending, annotation int64 [m]): the annotations of these sets, by place in `numbers`.

        with_turns: only conversations.
        """
        owners, annotations = self.index
        if with_turns:
            spoken = self.layout.annotations.turn_counts()[annotations] > 0
            owners, annotations = owners[spoken], annotations[spoken]
        places, counts = _of_sets(owners, numbers)
        return np.repeat(np.arange(len(numbers)), counts), annotations[places]

    def attach(self, sets: Sequence[ImageSet], numbers: Numbers) -> list[ImageSet]:
        """The sets of these numbers, with their annotations."""
        owners, annotations = self.index
        places, counts = _of_sets(owners, numbers)
        found = iter(self.layout.annotations.read(annotations[places]))
        return [
            replace(each, annotations=tuple(islice(found, count)))
            for each, count in zip(sets, counts.tolist(), strict=True)
        ]


def names_of(asked: Names | None) -> tuple[str, ...]:
    """The names that are asked for; () for None, which stands for all."""
    return (asked,) if isinstance(asked, str) else tuple(asked or ())


def _of_sets(owners: Numbers, numbers: Numbers) -> tuple[Numbers, Numbers]:
    """(places [m] in `owners`, ascending, of the sets `numbers`, one set after the other; how many each has)."""
    firsts = np.searchsorted(owners, numbers)
    counts = np.searchsorted(owners, numbers, side="right") - firsts
    return np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum())), counts
