"""Which members of image sets show the same image file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["image_numbers"]

Numbers = npt.NDArray[np.int64]


def image_numbers(members: pa.Table) -> Numbers:
    """int64 [m]: a number for the image of each member (MEMBER_NAME), the place of its first appearance."""
    own = pc.coalesce(members["row_id"].cast(pa.string()), members["path"], members["url"], members["key"])
    names = pc.binary_join_element_wise(members["source"], pc.fill_null(own, ""), "/")
    codes = names.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    first = np.unique(codes, return_index=True)[1].astype(np.int64)
    places: Numbers = first[codes]
    # -1 for null, as dictionary codes start at 0: images of unknown hash are never merged.
    hashes = members["sha256"].combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    known = hashes >= 0
    if not known.any():
        return places
    smallest = np.full(hashes.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, hashes[known], places[known])
    return np.where(known, smallest[hashes], places)
