"""Which rows of the stores of image sets are forgotten, and the stores' register of outputs, which names the sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from index.errors import BadInput
from index.files import exists, join
from index.store.output_register import register_output
from mining.sets.sources import Moved, Source, moved_by_name, open_source_store, source_folder

__all__ = ["forgotten_rows", "register_image_sets"]

RowIds = npt.NDArray[np.int64]


def forgotten_rows(sources: Mapping[str, Source], path: str, moved: Moved = None) -> dict[str, RowIds]:
    """Ascending row ids that each store has forgotten, by the source's name; sources with none are left out.

    path: of the folder of sets. moved: where stores are now. A store that is not where it was, or that is another one,
    cannot be asked, so that none of its rows is left out; where `moved` names it, what `open_source_store` raises is
    raised.
    """
    places = moved_by_name(moved, sources, path, "store")
    found = {}
    for name, source in sources.items():
        place = places.get(name)
        folder = source_folder(source, path, place, holds="manifest.json") if source.kind == "store" else None
        # Most stores have forgotten nothing, and opening one of many parts takes a quarter of a second.
        if folder is None or (place is None and not exists(join(folder, "forgotten"))):
            continue
        try:
            rows = open_source_store(source, path, place).forgotten
        except (BadInput, OSError):
            if place is not None:
                raise
            continue
        if len(rows):
            found[name] = rows
    return found


def register_image_sets(path: str | os.PathLike[str], sources: Mapping[str, Source]) -> None:
    """Enter a folder of image sets in the register of each of its stores, where these can be opened."""
    for name, source in sources.items():
        if source.kind == "store":
            with suppress(BadInput, OSError):
                store = open_source_store(source, os.fspath(path))
                register_output(store, "image sets", os.fspath(path), ("members/*.parquet",), only={"source": name})
