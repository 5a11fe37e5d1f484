"""The rows of a selection once each, for what is made of its images: exports, downloads, training pairs."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

__all__ = ["distinct_rows"]


def distinct_rows(table: pa.Table) -> pa.Table:
    """`table` (columns of a selection, among them row_id, concept and rank) in order of row id, each row id once.

    A row that serves several concepts keeps the values of the best rank, and an added column `concepts`, a list of
    strings, names all of them, best rank first; where the table has `class_id`, `class_ids` has their ids. In row id
    order image files are read front to back, and the concepts are mixed as they are in the corpus.
    """
    rows = table.column("row_id").to_numpy()
    order = np.lexsort((np.arange(len(rows)), table.column("rank").to_numpy(), rows))
    ordered = rows[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(rows) else np.zeros(0, np.int64)
    offsets = np.r_[starts, len(rows)].astype(np.int32)
    found = table.combine_chunks().take(pa.array(order[starts]))
    for name, several in (("concept", "concepts"), ("class_id", "class_ids")):
        if name in table.column_names:
            values = table.column(name).combine_chunks().take(pa.array(order))
            found = found.append_column(several, pa.ListArray.from_arrays(pa.array(offsets), values))
    return found
