"""The rows that may be mined: all of a store, or those of a Selection, without the forgotten ones; with `--hold-out`,
those of one side, training or held-out.

Samples are drawn by position and the side of a row is a hash of its number, so neither takes a pass over the store.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from index.errors import BadInput
from index.files import read_bytes, write_atomic
from index.hashing import hash_rows
from index.store.embedding_store import EmbeddingStore
from mining.strategies.context import HELD_OUT, MiningConfig, MiningContext
from retrieval.selection import Selection, store_identity

__all__ = [
    "Minable",
    "Side",
    "concept_rows",
    "holds_out_individuals",
    "mark_rows",
    "minable_rows",
    "open_selection",
    "read_rows",
    "rows_file",
    "side_of",
    "write_rows",
]

RowIds = npt.NDArray[np.int64]

# The hash that decides the side of a row. It does not depend on --seed, so that all runs on a store have the same sides
# and their sets can be joined.
_SIDE_SEED = 0x484F4C44
# In stores of more rows the rows of a side are not counted: any part that is asked for has enough.
_COUNTED = 1_000_000
# The most neighbours that a search returns so that enough of them are on one side.
_MOST_ASKED = 4_096


@dataclass(frozen=True)
class Side:
    """One side of `--hold-out`: about `hold_out` of all rows are held out, whichever rows there are."""

    hold_out: float
    held: bool

    @property
    def share(self) -> float:
        """The part of the rows on this side."""
        return self.hold_out if self.held else 1 - self.hold_out

    def contains(self, rows: RowIds) -> npt.NDArray[np.bool_]:
        """A mask over row ids of any shape: which are on this side."""
        return self._is_here(hash_rows(rows.reshape(-1, 1), _SIDE_SEED)).reshape(rows.shape)

    def contains_name(self, name: str) -> bool:
        """Whether the individual of that name is on this side."""
        first = int.from_bytes(hashlib.sha256(f"hold out {name}".encode()).digest()[:8], "big")
        return bool(self._is_here(np.array([first], np.uint64))[0])

    def _is_here(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        here: npt.NDArray[np.bool_] = (hashes < np.uint64(int(self.hold_out * 2.0**64))) == self.held
        return here


@dataclass(frozen=True)
class Minable:
    """The rows of `store` that may be mined.

    chosen: ascending row ids to restrict them to, None for all. side: the side that they are on, None for both; it
    restricts `chosen` as well.
    """

    store: EmbeddingStore
    chosen: RowIds | None = None
    side: Side | None = None

    @property
    def count(self) -> int:
        """The number of positions: of rows, with forgotten ones and, where `chosen` is None, those of both sides."""
        return self.store.rows if self.chosen is None else len(self.chosen)

    def allows(self, rows: RowIds) -> npt.NDArray[np.bool_]:
        """A mask over row ids of any shape: which are not forgotten and on this side; False for -1."""
        allowed = (rows >= 0) & ~self.store.is_forgotten(rows)
        return allowed if self.side is None else allowed & self.side.contains(rows)

    def neighbors_to_ask(self, k: int) -> int:
        """How many neighbours to search for among all rows so that k or more are probably on this side."""
        if self.side is None or self.chosen is not None:
            return k
        return min(math.ceil((k + 2 * math.sqrt(k)) / self.side.share), _MOST_ASKED, max(self.store.rows - 1, 1))

    def rows(self, start: int, stop: int) -> RowIds:
        """The row ids at positions start .. stop - 1 of `count`, without forgotten ones and those of the other side."""
        ids = np.arange(start, stop, dtype=np.int64) if self.chosen is None else self.chosen[start:stop]
        kept: RowIds = ids[self.allows(ids)]
        return kept

    def sample(self, count: int, random: np.random.Generator) -> RowIds:
        """Up to `count` different random rows, ascending; the cost does not depend on the size of the store."""
        several = count if self.side is None else math.ceil((count + 4 * math.sqrt(count)) / self.side.share)
        drawn = random.choice(self.count, min(several, self.count), replace=False, shuffle=False)
        ids = drawn.astype(np.int64) if self.chosen is None else self.chosen[drawn]
        kept: RowIds = ids[self.allows(ids)]
        if len(kept) > count:
            kept = kept[random.permutation(len(kept))[:count]]
        return np.sort(kept)

    def draw(self, count: int, random: np.random.Generator) -> RowIds:
        """Up to `count` random rows, of which any may come twice; some may be forgotten."""
        several = count if self.side is None else math.ceil((count + 4 * math.sqrt(count)) / self.side.share)
        drawn = random.integers(0, self.count, several)
        ids = drawn if self.chosen is None else self.chosen[drawn]
        return ids[:count] if self.side is None else ids[self.side.contains(ids)][:count]


def holds_out_individuals(config: MiningConfig) -> bool:
    """Whether `hold_out` is a part of the individuals rather than of the images: in a run of `identity` alone, where a
    story is held out as a whole."""
    return [name for name, _ in config.strategies] == ["identity"]


def side_of(ctx: MiningContext) -> Side | None:
    """The side of the rows that the context mines; None for both."""
    if ctx.split is None or holds_out_individuals(ctx.config):
        return None
    return Side(ctx.config.hold_out, ctx.split == HELD_OUT)


def minable_rows(ctx: MiningContext, store: EmbeddingStore) -> Minable:
    """The rows that a strategy may use. Raises BadInput for a selection of another store, or fewer than two rows."""
    side = side_of(ctx)
    chosen = read_rows(ctx.config)
    if ctx.config.selection is not None:
        selection = open_selection(ctx.config.selection, store)
        # With the forgotten rows, which `Minable.allows` leaves out: a run that continues draws by the same positions.
        listed = selection.table(["row_id"], include_forgotten=True)
        retrieved = np.unique(listed["row_id"].to_numpy()).astype(np.int64)
        chosen = retrieved if chosen is None else np.intersect1d(chosen, retrieved, assume_unique=True)
    if chosen is not None and side is not None:
        chosen = chosen[side.contains(chosen)]
    minable = Minable(store, chosen, side)
    if side is not None and chosen is None and store.rows <= _COUNTED:
        left = len(minable.rows(0, store.rows))
    else:
        left = minable.count - (len(store.forgotten) if chosen is None else int(store.is_forgotten(chosen).sum()))
    if left < 2:
        where = f"the rows of {store.path}" if ctx.config.rows is not None else store.path
        where = where if ctx.config.selection is None else ctx.config.selection
        rows = "1 row" if left == 1 else f"{left} rows"
        if side is not None:
            raise BadInput(
                f"{where}: --hold-out {side.hold_out:g} leaves {rows} {'held out' if side.held else 'for training'}, "
                "and a pair needs two; choose another part, or embed or select more images"
            )
        raise BadInput(f"{where}: has {rows} that may be mined, and a pair needs two; embed or select more images")
    return minable


def rows_file(config: MiningConfig) -> str:
    """The file beside `out` with the row ids that `config.rows` names, while sets are mined: int64, ascending, .npy."""
    return _rows_file(config.out, str(config.rows))


def _rows_file(out: str, checksum: str) -> str:
    return f"{out.rstrip('/')}-rows-{checksum[:16]}.npy"


def write_rows(out: str, rows: RowIds) -> str:
    """Write ascending row ids beside `out`; returns their checksum, for `MiningConfig.rows`."""
    stream = io.BytesIO()
    np.save(stream, rows.astype(np.int64), allow_pickle=False)
    checksum = hashlib.sha256(stream.getvalue()).hexdigest()
    write_atomic(_rows_file(out, checksum), stream.getvalue())
    return checksum


def read_rows(config: MiningConfig) -> RowIds | None:
    """The ascending row ids that `config.rows` names; None where it names none."""
    if config.rows is None:
        return None
    rows: RowIds = np.load(io.BytesIO(read_bytes(rows_file(config))), allow_pickle=False)
    return rows


def open_selection(path: str, store: EmbeddingStore) -> Selection:
    """The selection at `path`. Raises BadInput when it was not retrieved from this store."""
    selection = Selection.open(path)
    recorded = selection.manifest["store"]
    if recorded.get("parts") is None or store_identity(store, parts=recorded["parts"]) != recorded["identity"]:
        raise BadInput(f"{path}: was not retrieved from {store.path}; mine its own store, or retrieve again")
    return replace(selection, store_path=os.fspath(store.path))


def concept_rows(minable: Minable, selection: str) -> tuple[pa.StringArray, RowIds, RowIds]:
    """(concepts [c], rows int64 [n], bounds int64 [c + 1]) of a selection, without the rows that may not be mined.

    Concepts are given by their labels: by name, and by name and id where two classes have one name.
    The rows of concept i are rows[bounds[i] : bounds[i + 1]], ascending; a row may be in several concepts. Raises
    BadInput as `open_selection` does.
    """
    opened = open_selection(selection, minable.store)
    table = opened.table(["row_id", "concept", "class_id"], include_forgotten=True)
    encoded = pa.array(opened.labels, pa.string()).take(pa.array(opened.places(table))).dictionary_encode()
    pairs = np.unique(np.stack([encoded.indices.to_numpy().astype(np.int64), table["row_id"].to_numpy()], 1), axis=0)
    pairs = pairs[minable.allows(pairs[:, 1])]
    return encoded.dictionary, pairs[:, 1], np.searchsorted(pairs[:, 0], np.arange(len(encoded.dictionary) + 1))


def mark_rows(row_ids: RowIds, chosen: RowIds) -> npt.NDArray[np.bool_]:
    """A mask over `row_ids` of any shape: which are in `chosen` (ascending)."""
    if not len(chosen):
        return np.zeros(row_ids.shape, np.bool_)
    places = np.minimum(np.searchsorted(chosen, row_ids), len(chosen) - 1)
    found: npt.NDArray[np.bool_] = chosen[places] == row_ids
    return found
