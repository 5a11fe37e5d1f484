"""`random`: pairs by chance, the baseline that every figure of the other strategies is compared with."""

from __future__ import annotations

import pyarrow as pa

from mining.strategies.anchors import minable_rows
from mining.strategies.bands import OVERSAMPLED, unique_pairs
from mining.strategies.context import Candidates, MapItems, Mining, candidates_table

__all__ = ["random_pairs"]


def random_pairs(mine: Mining, map_items: MapItems) -> Candidates:
    """Pairs of rows drawn by the seed, each row as likely as any other; level 0."""
    minable = minable_rows(mine, mine.open_store())
    drawn = minable.pairs(OVERSAMPLED * mine.wanted, mine.random("pairs"))
    pairs = drawn[unique_pairs(drawn)]
    table = candidates_table(pairs, reasons=[pa.array(["drawn by chance"] * len(pairs), "string")])
    return Candidates(table, OVERSAMPLED * mine.wanted, {"drawn twice": len(drawn) - len(pairs)})
