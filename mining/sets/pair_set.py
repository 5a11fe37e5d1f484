"""Image sets of which every one is a pair."""

from __future__ import annotations

import os

from index.errors import BadInput
from mining.sets.image_sets import ImageSets
from mining.sets.layouts import read_layout
from mining.sets.sources import Moved

__all__ = ["PairSet"]


class PairSet(ImageSets):
    """Image sets of two members each."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, moved: Moved = None) -> PairSet:
        """As ImageSets.open. Raises BadInput when a set has another number of members (filter(size=2) gives pairs)."""
        layout = read_layout(path)
        if others := int((layout.sizes != 2).sum()):
            raise BadInput(
                f"{layout.path}: {others} of its sets are no pairs; open them with ImageSets.open(...), whose "
                ".filter(size=2) gives the pairs"
            )
        layout.moved = moved
        return cls(layout)
