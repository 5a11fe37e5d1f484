"""`random`: pairs drawn at random, the baseline that every figure of the other strategies is compared with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mining.strategies.bands import OVERSAMPLED, unique_pairs
from mining.strategies.context import Candidates, MapItems, MiningContext, candidates_table
from mining.strategies.minable import Minable, minable_rows

__all__ = ["draw_pairs", "random_pairs"]


def random_pairs(ctx: MiningContext, map_items: MapItems) -> Candidates:
    """Pairs of rows drawn with the seed, each row as likely as any other; level and difficulty 0."""
    minable = minable_rows(ctx, ctx.open_store())
    # No more sets can be made than the limit on an image's sets allows.
    wanted = min(ctx.wanted, minable.count * ctx.config.max_per_image)
    drawn = draw_pairs(minable, OVERSAMPLED * wanted, ctx.random("pairs"))
    pairs = drawn[unique_pairs(drawn)]
    table = candidates_table(pairs, difficulty=0.0, reasons=[pa.array(["drawn by chance"] * len(pairs), "string")])
    return Candidates(table, len(drawn), {"drawn twice": len(drawn) - len(pairs)})


def draw_pairs(minable: Minable, count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Random pairs of rows, int64 [n, 2] with n up to `count`: two different rows each, the smaller first.

    Draws of one row twice and of forgotten rows are dropped, so there may be fewer than `count`; a pair may repeat.
    """
    drawn = minable.draw(2 * count, random)
    ids = drawn[: len(drawn) // 2 * 2].reshape(-1, 2)
    usable = (ids[:, 0] != ids[:, 1]) & ~minable.store.is_forgotten(ids).any(axis=1)
    pairs: npt.NDArray[np.int64] = np.sort(ids[usable], axis=1).astype(np.int64)
    return pairs
