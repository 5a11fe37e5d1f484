"""Finds crowds: many rows that are nearly equal, such as one logo saved again and again. A crowd shares a node.

In a graph, the rows of a crowd link only to each other, and a walk that reaches one of them fills its candidate list
with the others and stops. Measured on 20,000 x 512 with a crowd of 6,000: recall@10 of queries that lean towards it was
.42, of others .97. So only one row of a crowd gets a node, its leader, and a search that reaches it compares the query
with every member (`index.graph.members`).

A crowd is a ball of many rows with almost nothing around it. Rows with equal codes of random hyperplanes (Charikar,
https://doi.org/10.1145/509907.509965) are compared with some rows of their bucket; where enough are near one, it is
tried as a leader, and all rows are compared with these leaders. Every step takes time in proportion to the rows.

Vectors are rounded to multiples of 1/2048, so all sums are whole numbers below 2^24, which fp32 holds exactly: the
crowds do not depend on the processor or on the number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from index.store.embedding_store import EmbeddingStore, Modality

__all__ = ["CROWD_RULES", "find_crowds"]

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint32]

# A crowd is a dense ball with almost nothing around it: rows whose cosine with the leader is at least the first number
# (3, 8 or 14 degrees), and at most a twentieth as many between the second and the first. Without the gap, rows beside
# the crowd would hide its node; in data that thins out evenly there is none.
_BALLS = ((0.9985, 0.997), (0.99, 0.983), (0.97, 0.95))
_AROUND = 20
# Fewer rows cannot fill a candidate list; on 20,000 x 64, crowds of 64 cost recall at efSearch 48, pairs do not.
_LEAST = 32
# A search reads all members of the crowds that it reaches, so larger crowds get several nodes.
_MOST = 16_384
# Tables of codes. A row has the code of a row 8 degrees away with a probability of about .4 (17 bits).
_TABLES = 6
# A bucket in which so many rows are in a ball around one of them is looked at: it has a part of a crowd only.
_IN_BUCKET = 8
_PIVOTS = 4  # rows of a bucket that are tried as leaders
# Leaders of one table, those with the most rows first; each row is compared with all of them.
_LEADERS = 1_024
_GRID = 2_048
_BLOCK_ROWS = 65_536
# What decides the crowds.
CROWD_RULES = (*_BALLS, _AROUND, _LEAST, _MOST, _TABLES, _IN_BUCKET, _PIVOTS, _LEADERS, _GRID)


def find_crowds(store: EmbeddingStore, modality: Modality, first: int, last: int, distinct: Ids) -> Ids:
    """int64 [last - first]: for each position the leader of its crowd; a row without a crowd leads itself.

    Args:
        first, last: rows first .. last - 1 of the store, whose positions count from 0.
        distinct: the positions to look at, ascending: usable rows with different vectors. The others lead themselves.
    """
    leaders = np.arange(last - first, dtype=np.int64)
    if len(distinct) < _LEAST:
        return leaders
    tables = _codes(store, modality, first, last, distinct)
    left = np.ones(len(distinct), np.bool_)
    for codes in tables:
        waiting = np.flatnonzero(left)
        found = _leaders_of(store, modality, first, distinct[waiting], codes[waiting])
        found, radii = _balls_of(store, modality, first, distinct[waiting], found)
        if not len(found):
            continue
        lead = _nearest(store, modality, first, distinct[waiting], found, radii)
        members = lead >= 0
        sizes = np.bincount(lead[members], minlength=len(found))
        members[members] = sizes[lead[members]] >= _LEAST
        leaders[distinct[waiting[members]]] = found[lead[members]]
        left[waiting[members]] = False
    return _cut(leaders)


def _codes(store: EmbeddingStore, modality: Modality, first: int, last: int, distinct: Ids) -> list[Codes]:
    """Tables of codes uint32 [len(distinct)]; a bit says on which side of a hyperplane through the mean a row lies."""
    bits = min(max(len(distinct).bit_length() + 2, 8), 30)
    generator = np.random.Generator(np.random.PCG64(11))
    planes = generator.choice(np.array([-1, 1], np.float32), (store.dim, bits * _TABLES))
    sample = distinct[np.unique(np.linspace(0, len(distinct) - 1, min(len(distinct), _BLOCK_ROWS)).astype(np.int64))]
    total = np.zeros(store.dim, np.float64)
    for vectors in _gathered(store, modality, first, sample):
        total += vectors.sum(axis=0, dtype=np.float64)
    middle = np.rint(total / len(sample)).astype(np.float32) @ planes
    powers = (1 << np.arange(bits, dtype=np.uint32)).astype(np.uint32)
    codes = np.empty((_TABLES, len(distinct)), np.uint32)
    done = 0
    for vectors in _gathered(store, modality, first, distinct):
        above = (vectors @ planes > middle).reshape(len(vectors), _TABLES, bits)
        codes[:, done : done + len(vectors)] = (above * powers).sum(axis=2, dtype=np.uint32).T
        done += len(vectors)
    return list(codes)


def _leaders_of(store: EmbeddingStore, modality: Modality, first: int, positions: Ids, codes: Codes) -> Ids:
    """Positions that lead a part of a bucket, no two of them near each other; those with the most rows come first."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(codes[order]) != 0]))
    sizes = np.diff(np.append(starts, len(order)))
    large = sizes >= _IN_BUCKET
    starts, sizes = starts[large], sizes[large]
    if not len(starts):
        return positions[:0]
    bucket = np.repeat(np.arange(len(starts)), sizes)
    within = np.arange(len(bucket)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = positions[order[starts[bucket] + within]]
    pivots = positions[order[starts[:, None] + sizes[:, None] * (2 * np.arange(_PIVOTS) + 1) // (2 * _PIVOTS)]]
    counts = np.zeros(pivots.shape, np.int64)  # rows in the widest ball that has a gap around it in this bucket
    for column in range(_PIVOTS):
        own, products = pivots[bucket, column], np.empty(len(rows), np.float32)
        for start in range(0, len(rows), _BLOCK_ROWS):
            some = slice(start, start + _BLOCK_ROWS)
            near, pivot = (_gather(store, modality, first, these[some]) for these in (rows, own))
            products[some] = np.einsum("ij,ij->i", near, pivot)
        for inner, outer in _BALLS:
            inside, around = (
                np.bincount(bucket[_near(products, cosine)], minlength=len(starts)) for cosine in (inner, outer)
            )
            apart = (around - inside) * 2 <= inside
            counts[:, column] = np.where(apart, inside, counts[:, column])
    best = counts.argmax(axis=1)
    found, count = pivots[np.arange(len(starts)), best], counts.max(axis=1)
    found, count = found[count >= _IN_BUCKET], count[count >= _IN_BUCKET]
    found = found[np.lexsort((found, -count))][:_LEADERS]
    vectors = _gather(store, modality, first, found)
    close = _near(vectors @ vectors.T, _BALLS[-1][0])
    chosen = np.ones(len(found), np.bool_)
    for number in range(len(found)):
        if chosen[number]:
            chosen[number + 1 :] &= ~close[number, number + 1 :]
    leaders: Ids = found[chosen]
    return leaders


def _balls_of(
    store: EmbeddingStore, modality: Modality, first: int, positions: Ids, leaders: Ids
) -> tuple[Ids, Floats]:
    """The leaders of balls of enough rows with a gap around them, and the cosine at the edge of the widest ball."""
    if not len(leaders):
        return leaders, np.empty(0, np.float32)
    wanted = _gather(store, modality, first, leaders).T
    counts = np.zeros((len(_BALLS), 2, len(leaders)), np.int64)
    for vectors in _gathered(store, modality, first, positions):
        products = vectors @ wanted
        for number, ball in enumerate(_BALLS):
            for side, cosine in enumerate(ball):
                counts[number, side] += _near(products, cosine).sum(axis=0)
    edges = np.full(len(leaders), np.inf, np.float32)
    for (inside, around), (edge, _) in zip(counts, _BALLS, strict=True):
        edges[(inside >= _LEAST) & ((around - inside) * _AROUND <= inside)] = edge
    return leaders[np.isfinite(edges)], edges[np.isfinite(edges)]


def _nearest(store: EmbeddingStore, modality: Modality, first: int, positions: Ids, leaders: Ids, edges: Floats) -> Ids:
    """int64 [len(positions)]: the number of the nearest leader in whose ball each row is; -1 for none."""
    wanted = _gather(store, modality, first, leaders).T
    found = []
    for vectors in _gathered(store, modality, first, positions):
        products = vectors @ wanted
        products[~_near(products, edges)] = -np.inf
        best = products.argmax(axis=1)
        found.append(np.where(np.isneginf(products[np.arange(len(best)), best]), -1, best))
    return np.concatenate(found)


def _cut(leaders: Ids) -> Ids:
    """The same crowds, but those of more than _MOST rows in equal pieces, each led by its first row."""
    sizes = np.bincount(leaders, minlength=len(leaders))
    for leader in np.flatnonzero(sizes > _MOST):
        members = np.flatnonzero(leaders == leader)
        members = np.concatenate([[leader], members[members != leader]])
        for piece in np.array_split(members, -(-len(members) // _MOST)):
            leaders[piece] = piece[0]
    return leaders


def _near(products: Floats, cosine: float | Floats) -> npt.NDArray[np.bool_]:
    near: npt.NDArray[np.bool_] = products >= np.float32(_GRID * _GRID) * np.asarray(cosine, np.float32)
    return near


def _gathered(store: EmbeddingStore, modality: Modality, first: int, positions: Ids) -> Iterator[Floats]:
    for start in range(0, len(positions), _BLOCK_ROWS):
        yield _gather(store, modality, first, positions[start : start + _BLOCK_ROWS])


def _gather(store: EmbeddingStore, modality: Modality, first: int, positions: Ids) -> Floats:
    """The vectors at `positions`, of length 1, in units of 1/_GRID and rounded to whole numbers."""
    vectors = store.gather(modality, positions + first).astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    whole: Floats = np.rint(vectors * (_GRID / np.maximum(lengths, np.float32(1e-30)))[:, None])
    return whole
