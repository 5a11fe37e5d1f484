"""Which members of image sets show the same image file: by name, and by the hash of the file where it is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.duplicates.components import join_groups
from mining.sets.layouts import Layout

__all__ = ["MEMBER_NAME", "image_numbers", "images_of", "own_names"]

Numbers = npt.NDArray[np.int64]

# The columns that `Member.ref` needs.
MEMBER_NAME = ("source", "row_id", "key", "shard", "offset", "path", "url", "sha256")


def own_names(members: pa.Table) -> pa.Array:
    """string [m]: the name of each member (MEMBER_NAME) within its source, as `Member.ref` has it after the `/`."""
    row, offset = (members[name].cast(pa.string()) for name in ("row_id", "offset"))
    in_file = pc.binary_join_element_wise(members["shard"], pc.coalesce(members["key"], offset, ""), ":")
    names = pc.coalesce(row, members["path"], members["url"], in_file, members["key"], members["sha256"])
    return pc.fill_null(names, "").combine_chunks()


def image_numbers(members: pa.Table) -> Numbers:
    """int64 [m]: a number for the image of each member (MEMBER_NAME), the place of its first appearance."""
    # Numbers of names and of sources are joined rather than their texts, which would be hundreds of MB.
    sources = _codes(members["source"].combine_chunks())
    group = _first_places(_codes(own_names(members)) * (int(sources.max(initial=0)) + 1) + sources)
    # -1 where no hash is known: such images are never merged.
    hashes = _codes(members["sha256"].combine_chunks())
    known = np.flatnonzero(hashes >= 0)
    return join_groups(group, known, known[_first_places(hashes[known])])


def images_of(layout: Layout, numbers: Numbers) -> tuple[Numbers, Numbers, pa.Table]:
    """(image int64 [m], place in `numbers` int64 [m], source and row_id [m]) of each member of the sets `numbers`.

    Images are numbered by their first appearance in the folder, so that they do not depend on the choice of sets.
    """
    parts = range(len(layout.parts))
    whole = pa.concat_tables([layout.member_columns(part, MEMBER_NAME) for part in parts])
    counts = layout.sizes[numbers]
    firsts = (np.cumsum(layout.sizes) - layout.sizes)[numbers] - (np.cumsum(counts) - counts)
    own = np.repeat(firsts, counts) + np.arange(int(counts.sum()))
    owners = np.repeat(np.arange(len(counts)), counts)
    return image_numbers(whole)[own], owners, whole.select(["source", "row_id"]).take(pa.array(own))


def _codes(values: pa.Array) -> Numbers:
    """int64 [n]: equal numbers for equal values, from 0; -1 for null."""
    codes: Numbers = values.dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    return codes


def _first_places(codes: Numbers) -> Numbers:
    """int64 [n]: for each code the first place that has it."""
    _, first, back = np.unique(codes, return_index=True, return_inverse=True)
    places: Numbers = first.astype(np.int64)[back.reshape(-1)]
    return places
