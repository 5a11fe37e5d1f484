"""What one run of mining asks for, and what one strategy gets and gives back: plain data that travels to workers.

    strategy(ctx, map_items) -> Candidates

is the signature of them all (`mining.strategies.registry`). A strategy proposes more sets than wanted; `mining.select.assemble` then
applies the rules that hold for all of them. Knows no strategy, no executor and no output format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from index.files import hash_json
from index.store.embedding_store import EmbeddingStore

__all__ = [
    "CANDIDATES_SCHEMA",
    "Candidates",
    "MapItems",
    "MiningConfig",
    "MiningContext",
    "Strategy",
    "candidates_table",
    "in_process",
    "sentences",
]

CANDIDATES_SCHEMA = pa.schema(
    [
        ("rows", pa.list_(pa.int64())),  # the members; ascending unless the strategy orders them
        ("level", pa.int32()),  # overlap: shared nouns; attribute: axes that differ; others: band from 1; random: 0
        ("shared_nouns", pa.list_(pa.string())),
        ("axis", pa.string()),
        ("concept", pa.string()),
        ("entity", pa.string()),
        ("reasons", pa.list_(pa.string())),  # sentences that a person can check
    ]
)

# Cosine from which two images count as one picture: clip-retrieval's own limit for duplicates, and the one that
# `clipmine retrieve --near-duplicates` names. Another model may need another one.
NEAR_DUPLICATES = 0.94


@dataclass(frozen=True)
class MiningConfig:
    """All that the user asked for.

    store, out: folders. strategies: (name, share), shares adding up to 1. sets: how many in all.
    max_per_image: sets in which one image may appear. near_duplicates: image cosine at and above which two images are
    one picture. levels: the levels to balance, None for the strategy's own. min_shared_nouns: overlap: at least so
    many instead of levels (CaD-QA: 8). rare_nouns: overlap: rare nouns weigh more. nouns: lexicon, spacy or nltk.
    axes: attribute: those wanted, () for all. captions: which text is parsed, the embedded `caption` or `all` of an
    image's. entity, order: identity: dotted fields in the metadata or in `extra`'s JSON (lists are walked through).
    set_size: identity: images a set. selection: a Selection folder that restricts the rows and names concepts.
    decisions: a decisions file to respect. strict: a shortfall is an error.
    """

    store: str
    out: str
    strategies: tuple[tuple[str, float], ...]
    sets: int = 10_000
    seed: int = 0
    max_per_image: int = 10
    near_duplicates: float = NEAR_DUPLICATES
    levels: tuple[int, ...] | None = None
    min_shared_nouns: int | None = None
    rare_nouns: bool = False
    nouns: str = "lexicon"
    axes: tuple[str, ...] = ()
    captions: str = "caption"
    entity: str | None = None
    order: str | None = None
    set_size: int = 2
    selection: str | None = None
    decisions: str | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        for name, least in (("sets", 1), ("max_per_image", 1), ("set_size", 2), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise BadInput(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
        if not 0 < self.near_duplicates <= 1.01:
            raise BadInput(f"--near-duplicates is a cosine above 0 and up to 1, not {self.near_duplicates:g}")
        if self.min_shared_nouns is not None and self.min_shared_nouns < 1:
            raise BadInput(f"--min-shared-nouns must be at least 1, not {self.min_shared_nouns}")
        if self.levels is not None and (not self.levels or min(self.levels) < 0):
            raise BadInput(f"--levels are numbers from 0, separated by commas, not {self.levels}")
        if self.captions not in ("caption", "all"):
            raise BadInput(f"--captions {self.captions!r}: choose caption or all")


@dataclass(frozen=True)
class MiningContext:
    """What one strategy gets: the configuration, its own name, the sets wanted of it, and a folder for its files."""

    config: MiningConfig
    strategy: str
    wanted: int
    folder: str

    def open_store(self) -> EmbeddingStore:
        return EmbeddingStore.open(self.config.store)

    def random(self, *purpose: int | str) -> np.random.Generator:
        """A generator that depends on the seed, the strategy and `purpose` alone, on whatever worker."""
        return np.random.default_rng(int(hash_json([self.config.seed, self.strategy, *purpose])[:16], 16))


@dataclass(frozen=True)
class Candidates:
    """What a strategy proposes.

    table: CANDIDATES_SCHEMA, in an order that does not depend on the executor. considered: sets (or rows) looked at.
    dropped: what the strategy itself left out, by reason. notes: what a reader of the summary should know.
    measured: numbers that it took from the store, such as a floor of similarity, for the manifest.
    """

    table: pa.Table
    considered: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    measured: dict[str, float] = field(default_factory=dict)


# map_items(function, items, label) -> results in the order of the items. Bound to one `MiningContext`: an item's function is
# called as function(item, ctx). It is importable at module level, pure and idempotent; what it gives back is small,
# and what is large it writes to `ctx.folder`, whole or not at all, and skips when it is there already.
MapItems = Callable[[Callable[[Any, MiningContext], Any], Sequence[Any], str], list[Any]]
Strategy = Callable[[MiningContext, MapItems], Candidates]


def in_process(ctx: MiningContext) -> MapItems:
    """The plain way to map: one item after the other, here."""

    def map_items(function: Callable[[Any, MiningContext], Any], items: Sequence[Any], label: str) -> list[Any]:
        return [function(item, ctx) for item in items]

    return map_items


def candidates_table(
    rows: npt.NDArray[np.int64],
    *,
    level: npt.NDArray[np.integer[Any]] | int = 0,
    reasons: Sequence[pa.Array] = (),
    **columns: pa.Array,
) -> pa.Table:
    """CANDIDATES_SCHEMA from arrays, without a loop over the sets.

    Args:
        rows: int64 [n, m], the members of sets that are all of one size.
        level: [n], or one for all.
        reasons: string arrays [n], a sentence of each a set, in this order.
        columns: shared_nouns, axis, concept, entity [n]; null where not given.
    """
    count, size = rows.shape
    offsets = np.arange(count + 1, dtype=np.int32)
    joined = np.arange(count * len(reasons)).reshape(len(reasons), count).T.ravel()  # set by set, reason by reason
    texts = (
        pa.concat_arrays([_plain(each) for each in reasons]).take(pa.array(joined))
        if reasons
        else pa.array([], "string")
    )
    data = {
        "rows": pa.ListArray.from_arrays(offsets * np.int32(size), pa.array(np.ascontiguousarray(rows).ravel())),
        "level": pa.array(np.broadcast_to(np.asarray(level, np.int32), (count,))),
        "reasons": pa.ListArray.from_arrays(offsets * np.int32(len(reasons)), texts),
        **columns,
    }
    return pa.table(
        [data.get(name, pa.nulls(count, CANDIDATES_SCHEMA.field(name).type)) for name in CANDIDATES_SCHEMA.names],
        schema=CANDIDATES_SCHEMA,
    )


def sentences(pattern: str, *values: npt.NDArray[Any] | pa.Array) -> pa.Array:
    """String array [n]: `pattern` with each {} replaced by the values of one array [n]; floats with two decimals."""
    return pa.array(
        [pattern.format(*each) for each in zip(*(_shown(value) for value in values), strict=True)], "string"
    )


def _shown(values: npt.NDArray[Any] | pa.Array) -> list[str]:
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return [f"{value:.2f}" for value in values.tolist()]
    return [str(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values.to_pylist())]


def _plain(texts: pa.Array) -> pa.Array:
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
