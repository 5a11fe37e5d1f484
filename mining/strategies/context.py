"""The input and output of a strategy: the configuration of a run, the context of one strategy, and its candidates.

    strategy(ctx, map_items) -> Candidates

is the signature of every strategy. A strategy proposes more sets than wanted; `mining.select.assemble` then applies the
rules that hold for all strategies. All of it is plain data that can be sent to workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from index.files import hash_json
from index.store.embedding_store import EmbeddingStore
from mining.sets.near_images import NEAR_DUPLICATES

__all__ = [
    "CANDIDATES_SCHEMA",
    "HELD_OUT",
    "TRAIN",
    "Candidates",
    "MapItems",
    "MiningConfig",
    "MiningContext",
    "Strategy",
    "candidates_table",
    "in_process",
    "padded",
    "sentences",
]

CANDIDATES_SCHEMA = pa.schema(
    [
        ("rows", pa.list_(pa.int64())),  # the members, ascending unless the strategy has an order
        ("level", pa.int32()),  # as `mining.sets.image_set.ImageSet.level`
        ("difficulty", pa.float32()),  # 0 (easy to tell apart) .. 1, as `mining.sets.image_set.ImageSet.difficulty`
        ("shared_nouns", pa.list_(pa.string())),
        ("axis", pa.string()),
        ("concept", pa.string()),
        ("entity", pa.string()),
        ("reasons", pa.list_(pa.string())),  # sentences that a person can check
        # The caption of each member that the reasons came from, where that may not be the embedded one; null: that one.
        ("member_captions", pa.list_(pa.string())),
        ("reference", pa.string()),  # a text about the whole set, from captions; becomes an annotation
        ("extra", pa.string()),  # JSON object, for `ImageSet.extra`
    ]
)

# The sides of `--hold-out`, as `mining.sets.image_set.ImageSet.split`.
TRAIN, HELD_OUT = "train", "held-out"

# The most images of a group; a model reads hundreds of tokens an image.
MOST_GROUP = 32
# Bounds against slips of the keyboard. A run holds its proposals in memory; a caption keeps 64 nouns.
MOST_SETS, MOST_MEMBERS, MOST_NOUNS = 1_000_000_000, 1_000, 64


@dataclass(frozen=True)
class MiningConfig:
    """What the user asked for; the options of `clipmine mine`.

    For all strategies. store, out: folders. strategies: (name, share), the shares adding up to 1. sets: how many in
    all. max_per_image: most sets that may contain the same image. near_duplicates: image cosine from which two images
    are the same picture. levels: the levels to balance; None for all that a strategy has. selection: a Selection folder
    that restricts the rows and names concepts. rows: the checksum of row ids that restrict the rows too, which are in
    the file of `mining.strategies.minable.rows_file`. decisions: a decisions file whose rejected sets are skipped.
    hold_out: the part of the images whose sets are kept apart from those of the others, as ImageSet.split says. strict:
    raise an error when sets are missing.

    For similar and attribute. ceiling: image cosine below which nearly identical images are paired too, where their
    pixels differ; None for `near_duplicates`.

    For overlap, attribute and groups. captions: the text that is parsed, the embedded `caption` or `all` of an image.
    nouns: lexicon, spacy or nltk. names: names of people, products and places are nouns too. min_shared_nouns: at least
    so many shared nouns, instead of levels (CaD-QA: 8). rare_nouns: prefer pairs that share rare nouns. axes: the axes
    that may differ; () for all. facts: dotted metadata fields that attribute compares instead of captions.

    For identity. entity, order, context: dotted fields in the metadata or in the JSON of `extra`: who is in the image,
    what sorts the images of a set, and what must differ between them. set_size: images a set.

    For groups. group_size: fewest and most images a set.
    """

    store: str
    out: str
    strategies: tuple[tuple[str, float], ...]
    sets: int = 10_000
    seed: int = 0
    max_per_image: int = 10
    near_duplicates: float = NEAR_DUPLICATES
    ceiling: float | None = None
    levels: tuple[int, ...] | None = None
    min_shared_nouns: int | None = None
    rare_nouns: bool = False
    nouns: str = "lexicon"
    names: bool = False
    axes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    captions: str = "caption"
    entity: str | None = None
    order: str | None = None
    context: str | None = None
    set_size: int = 2
    group_size: tuple[int, int] = (3, 8)
    selection: str | None = None
    rows: str | None = None
    decisions: str | None = None
    hold_out: float = 0.0
    strict: bool = False

    @property
    def restricts_rows(self) -> bool:
        """Whether only some rows of the store are mined."""
        return self.selection is not None or self.rows is not None

    def __post_init__(self) -> None:
        for name, least in (("sets", 1), ("max_per_image", 1), ("set_size", 2), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise BadInput(f"--{name.replace('_', '-')} must be at least {least}, not {value}")
        for name, most in (("sets", MOST_SETS), ("set_size", MOST_MEMBERS), ("min_shared_nouns", MOST_NOUNS)):
            value = getattr(self, name)
            if value is not None and value > most:
                raise BadInput(f"--{name.replace('_', '-')} must be at most {most:,}, not {value}")
        if not 0 < self.near_duplicates <= 1.01:
            raise BadInput(f"--near-duplicates is a cosine above 0 and up to 1, not {self.near_duplicates:g}")
        if self.ceiling is not None and not self.near_duplicates < self.ceiling <= 1.01:
            raise BadInput(
                f"--ceiling is a cosine above --near-duplicates ({self.near_duplicates:g}) and up to 1, "
                f"not {self.ceiling:g}"
            )
        if self.min_shared_nouns is not None and self.min_shared_nouns < 1:
            raise BadInput(f"--min-shared-nouns must be at least 1, not {self.min_shared_nouns}")
        if self.levels is not None and (not self.levels or min(self.levels) < 0):
            raise BadInput(f"--levels are numbers from 0, separated by commas, not {self.levels}")
        if not 2 <= self.group_size[0] <= self.group_size[1] <= MOST_GROUP:
            least, most = self.group_size
            raise BadInput(f"--group-size is a number or a range within 2-{MOST_GROUP}, as in 3-8, not {least}-{most}")
        if not 0 <= self.hold_out < 1:
            raise BadInput(f"--hold-out is a part of the images, from 0 to below 1, not {self.hold_out:g}")
        if self.captions not in ("caption", "all"):
            raise BadInput(f"--captions {self.captions!r}: choose caption or all")


@dataclass(frozen=True)
class MiningContext:
    """What one strategy gets: the configuration, its name, the number of sets wanted of it, and its working folder.

    split: the side of `hold_out` whose rows it may use, TRAIN or HELD_OUT; None without a hold-out. measured: on the
    held-out side, what the strategy measured on the training side (`Candidates.measured`).
    """

    config: MiningConfig
    strategy: str
    wanted: int
    folder: str
    split: str | None = None
    measured: Mapping[str, float] = field(default_factory=dict)

    def open_store(self) -> EmbeddingStore:
        return EmbeddingStore.open(self.config.store)

    def random(self, *purpose: int | str) -> np.random.Generator:
        """A generator that depends on the seed, strategy, side and `purpose` only, so every worker draws the same."""
        side = [] if self.split is None else [self.split]
        return np.random.default_rng(int(hash_json([self.config.seed, self.strategy, *side, *purpose])[:16], 16))


@dataclass(frozen=True)
class Candidates:
    """The sets that a strategy proposes.

    table: CANDIDATES_SCHEMA, in an order that does not depend on the executor. considered: how many sets the strategy
    looked at (or lists of images to choose a set from). dropped: how many of them it dropped, by reason; considered =
    sets of the table + dropped. unused: rows that it could not use at all, by reason. notes: sentences for the summary.
    measured: numbers that it measured on the store, such as a similarity floor, for the manifest and the held-out side.
    near_duplicates: the limit for these sets where the strategy has checked more similar images itself; None for that
    of the configuration. balanced: whether equally many sets of each level are made; False to draw from all that are
    proposed alike.
    """

    table: pa.Table
    considered: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    unused: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    measured: dict[str, float] = field(default_factory=dict)
    near_duplicates: float | None = None
    balanced: bool = True


# map_items(function, items, label) -> results in the order of the items. Each item is one call function(item, ctx),
# possibly on another machine: the function is importable at module level, pure and idempotent. It returns little and
# writes large results to files in `ctx.folder`, atomically; it skips a file that is there already.
MapItems = Callable[[Callable[[Any, MiningContext], Any], Sequence[Any], str], list[Any]]
Strategy = Callable[[MiningContext, MapItems], Candidates]


def in_process(ctx: MiningContext) -> MapItems:
    """Map the items one after the other in this process."""

    def map_items(function: Callable[[Any, MiningContext], Any], items: Sequence[Any], label: str) -> list[Any]:
        return [function(item, ctx) for item in items]

    return map_items


def candidates_table(
    rows: npt.NDArray[np.int64],
    *,
    level: npt.NDArray[np.integer[Any]] | int = 0,
    difficulty: npt.NDArray[np.floating[Any]] | float | None = None,
    reasons: Sequence[pa.Array] = (),
    **columns: pa.Array,
) -> pa.Table:
    """CANDIDATES_SCHEMA from arrays.

    Args:
        rows: int64 [n, m], the members; all sets have the same size.
        level: [n], or one level for all.
        difficulty: [n] in 0..1, or one for all; null where it is not given.
        reasons: string arrays [n]; a set's reasons are its sentence of each array, in this order.
        columns: the other columns of the schema [n]; a column that is not given is null.
    """
    count, size = rows.shape
    offsets = np.arange(count + 1, dtype=np.int32)
    # The reasons of set 0, of set 1, ...
    joined = np.arange(count * len(reasons)).reshape(len(reasons), count).T.ravel()
    texts = pa.concat_arrays(reasons).take(pa.array(joined)) if reasons else pa.array([], "string")
    data = {
        "rows": pa.ListArray.from_arrays(offsets * np.int32(size), pa.array(np.ascontiguousarray(rows).ravel())),
        "level": pa.array(np.broadcast_to(np.asarray(level, np.int32), (count,))),
        "reasons": pa.ListArray.from_arrays(offsets * np.int32(len(reasons)), texts),
        **columns,
    }
    if difficulty is not None:
        data["difficulty"] = pa.array(np.broadcast_to(np.asarray(difficulty, np.float32), (count,)))
    return pa.table(
        [data.get(name, pa.nulls(count, CANDIDATES_SCHEMA.field(name).type)) for name in CANDIDATES_SCHEMA.names],
        schema=CANDIDATES_SCHEMA,
    )


def padded(rows: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Lists of row ids as int64 [n, m], padded with -1; m is the length of the longest list, at least 2."""
    lists = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    sizes = np.diff(lists.offsets.to_numpy()) if len(lists) else np.empty(0, np.int64)
    members = np.full((len(lists), max(2, int(sizes.max(initial=0)))), -1, np.int64)
    members[np.arange(members.shape[1]) < sizes[:, None]] = lists.flatten().to_numpy()
    return members


def sentences(pattern: str, *values: npt.NDArray[Any] | pa.Array) -> pa.Array:
    """String array [n]: `pattern` with its {} filled from the arrays [n], in order; floats with two decimals."""
    return pa.array(
        [pattern.format(*each) for each in zip(*(_shown(value) for value in values), strict=True)], "string"
    )


def _shown(values: npt.NDArray[Any] | pa.Array) -> list[str]:
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return [f"{value:.2f}" for value in values.tolist()]
    return [str(value) for value in (values.tolist() if isinstance(values, np.ndarray) else values.to_pylist())]
