"""Selection rows by image: one row a row id, with the list of the concepts that it serves. Knows Arrow tables only."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

__all__ = ["distinct_rows"]


def distinct_rows(table: pa.Table) -> pa.Table:
    """`table` (selection columns, among them row_id, concept and rank) in order of row id, each row id once.

    Of a row that serves several concepts the best ranked one's values stay, and a column `concepts`, a list of
    strings, names all of them, best rank first. In row id order images are read front to back, and concepts are
    mixed as the corpus mixed them.
    """
    rows = table.column("row_id").to_numpy()
    order = np.lexsort((np.arange(len(rows)), table.column("rank").to_numpy(), rows))
    ordered = rows[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(rows) else np.zeros(0, np.int64)
    offsets = np.r_[starts, len(rows)].astype(np.int32)
    names = table.column("concept").combine_chunks().take(pa.array(order))
    concepts = pa.ListArray.from_arrays(pa.array(offsets), names)
    return table.combine_chunks().take(pa.array(order[starts])).append_column("concepts", concepts)
