"""The image-text pairs of a run: one row a pair, with the place of its image and its caption, in a memory-mapped file.

An image in tars is a pair with each of its captions; a selection's row is one pair.

    OUT/work/pairs.arrow    row_id, key, shard, offset, size, sha256, caption, text

`text` numbers the distinct captions, so that equal texts are found by number, not by comparing vectors. Images stay in
their shards; an image is read by one ranged read. The file is written once and mapped by all processes, so ten million
pairs take no memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.corpus.samples import Sample
from index.corpus.sources import list_items, read_item
from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from index.files import atomic_file, exists, join_inside, local_path, read_bytes_range
from index.store.embedding_store import EmbeddingStore
from retrieval.distinct_rows import distinct_rows
from retrieval.selection import Selection

__all__ = ["Pairs", "gather_pairs"]

SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),  # in the store; null where there is none
        ("key", pa.string()),
        ("shard", pa.int32()),  # position in the list of shard names, which is in the schema's metadata
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("caption", pa.string()),
        ("text", pa.int32()),
    ]
)
_CHUNK = 65_536

# By default this share of a selection's pairs is held out, and so many at most.
HELD_OUT_SHARE, MOST_HELD_OUT = 0.05, 2_000
_HOLD_OUT_SEED = 0x401D  # so that these draws are not those of the first epoch
FEWEST_HELD_OUT = 20  # with fewer pairs nothing is held out: their figures would be chance
Part = Literal["train", "held_out"]


@dataclass(frozen=True)
class Pairs:
    """Pairs in a memory-mapped file: those to train on, or those that are held out.

    Attributes:
        root: the folder or URL that shard names are relative to.
        skipped: reason -> number of pairs that could not be used.
    """

    path: str
    table: pa.Table
    root: str
    shards: tuple[str, ...]
    skipped: Mapping[str, int]
    part: Part = "train"

    @classmethod
    def open(cls, path: str, part: Part = "train") -> Pairs:
        """Open a part of a file that `gather_pairs` wrote."""
        table = pa.ipc.open_file(pa.memory_map(str(local_path(path)))).read_all()
        about = json.loads(table.schema.metadata[b"pairs"])
        trained = table.num_rows - about.get("held_out", 0)
        table = table.slice(0, trained) if part == "train" else table.slice(trained)
        return cls(path, table, about["root"], tuple(about["shards"]), about["left_out"], part)

    def __reduce__(self) -> Any:
        return Pairs.open, (self.path, self.part)  # another process maps the file; it is sent no rows

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def shard_of(self) -> npt.NDArray[np.int32]:
        """int32 [n], the number of each row's shard."""
        numbers: npt.NDArray[np.int32] = self.table["shard"].to_numpy()
        return numbers

    @cached_property
    def text_of(self) -> npt.NDArray[np.int32]:
        """int32 [n], the number of each row's caption among the distinct captions, in order of first appearance."""
        numbers: npt.NDArray[np.int32] = self.table["text"].to_numpy()
        return numbers

    @cached_property
    def row_ids(self) -> npt.NDArray[np.int64] | None:
        """int64 [n], the row ids in the store; None when a pair has none."""
        column = self.table["row_id"]
        return None if column.null_count else column.to_numpy()

    def keys(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
        """The keys of `rows`, in their order."""
        keys: list[str] = self.table["key"].take(pa.array(rows)).to_pylist()
        return keys

    def captions(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
        """The captions of `rows`, in their order."""
        captions: list[str] = self.table["caption"].take(pa.array(rows)).to_pylist()
        return captions

    def distinct_captions(self) -> list[str]:
        """Each caption once, in the order of the numbers in `text_of`."""
        first = np.unique(self.text_of, return_index=True)[1]
        return self.captions(first)

    def image(self, row: int) -> bytes:
        """The encoded image of a row.

        Raises ImagesNotLocal when its shard is gone, StoreInvalid when the shard no longer holds this image.
        """
        place = self.table.slice(row, 1).select(["shard", "offset", "size", "sha256", "key"]).to_pylist()[0]
        path = join_inside(self.root, self.shards[place["shard"]])
        try:
            data = read_bytes_range(path, place["offset"], place["size"])
        except FileNotFoundError as error:
            raise ImagesNotLocal(f"{path}: is gone; put the corpus back under {self.root} and run again") from error
        if len(data) != place["size"] or (place["sha256"] and hashlib.sha256(data).hexdigest() != place["sha256"]):
            raise StoreInvalid(
                f"{path}: no longer holds the image of {place['key']}: it was cut off or changed since this run was "
                "begun; put it back as it was and run again"
            )
        return data


def gather_pairs(
    path: str,
    *,
    selection: Selection | None,
    store: EmbeddingStore | None,
    tars: str | None,
    hold_out: int | None = 0,
    seed: int = 0,
) -> Pairs:
    """Write the pairs of a selection (with its `store`), or of `tars`, to `path` where it does not exist; open them.

    Args:
        hold_out: number of pairs that are not to be trained on, drawn by `seed` with all pairs of their images; None:
            5% of a selection's pairs, at most 2,000, and none where that is below 20; none of tars, which are often a
            benchmark's training set.

    Raises:
        BadInput: no pairs, only one distinct caption, or a file of which the store forgot rows since it was written.
        ImagesNotLocal: the store has embeddings and no images.
        StoreInvalid: the store does not have the rows of the selection.
    """
    if not exists(path):
        if selection is not None:
            assert store is not None
            if not selection.rows:
                raise BadInput(
                    f"{selection.path}: selected no rows, so there is nothing to learn from; loosen its rules"
                )
            root, shards, tables, skipped = _of_selection(selection, store)
            where = selection.path
        else:
            root, shards, tables, skipped = _of_tars(str(tars))
            where = str(tars)
        if hold_out is None and selection is None:
            hold_out = 0
        _write(path, where, root, shards, tables, skipped, hold_out, seed)
    pairs = Pairs.open(path)
    gone = 0
    for part in (pairs, Pairs.open(path, "held_out")):
        if store is not None and part.row_ids is not None:
            gone += int(store.is_forgotten(part.row_ids).sum())
    if gone and selection is not None:
        raise BadInput(
            f"{path}: holds {gone:,} {'pair' if gone == 1 else 'pairs'} that the store forgot since this run was "
            "begun; delete the run's folder and train again"
        )
    return pairs


# The root, the shards' numbers by name, tables of pairs, and the numbers of skipped pairs by reason. The shards and the
# skipped pairs are complete when all tables have been read.
Found = tuple[str, dict[str, int], Iterator[pa.Table], dict[str, int]]


def _of_selection(selection: Selection, store: EmbeddingStore) -> Found:
    if store.corpus_root is None:
        raise ImagesNotLocal(
            f"{selection.path}: its store has embeddings and no images; download what was selected with `clipmine "
            "fetch`, export it, and customize on those tars (--tars)"
        )
    shards: dict[str, int] = {}
    skipped: dict[str, int] = {}
    ids = distinct_rows(selection.table(["row_id", "key", "concept", "rank"], include_forgotten=True))

    def tables() -> Iterator[pa.Table]:
        for first in range(0, ids.num_rows, _CHUNK):
            asked = ids.slice(first, _CHUNK)
            row_ids = asked["row_id"].to_numpy()
            own = store.metadata(row_ids, ["key", "shard", "offset", "size", "sha256", "caption"])
            known = pc.and_(pc.is_valid(own["shard"]), pc.is_valid(own["offset"]))
            gone = int(store.is_forgotten(row_ids).sum())
            placeless = len(row_ids) - int(pc.sum(known).as_py() or 0) - gone
            for reason, count in (("forgotten", gone), ("image not local", placeless)):
                if count:
                    skipped[reason] = skipped.get(reason, 0) + count
            same = pc.fill_null(pc.equal(own["key"], asked["key"]), True)
            if not pc.all(same).as_py():
                wrong = own["key"].filter(pc.invert(same))[0].as_py()
                raise StoreInvalid(f"{store.path}: has {wrong!r} where the selection has another key; another store")
            own = own.append_column("row_id", pa.array(row_ids)).filter(known)
            numbers = [shards.setdefault(name, len(shards)) for name in own["shard"].to_pylist()]
            yield own.set_column(own.schema.get_field_index("shard"), "shard", pa.array(numbers, pa.int32()))

    return store.corpus_root, shards, tables(), skipped


def _of_tars(tars: str) -> Found:
    items = list_items(tars)
    shards: dict[str, int] = {}
    skipped: dict[str, int] = {}

    def tables() -> Iterator[pa.Table]:
        for item in items:
            rows: list[dict[str, Any]] = []
            for sample in read_item(item):
                if isinstance(sample, Sample):
                    rows += _rows(sample, shards.setdefault(sample.shard, len(shards)))
                else:
                    skipped[sample.reason] = skipped.get(sample.reason, 0) + 1
            yield pa.Table.from_pylist(rows, SCHEMA.remove(SCHEMA.get_field_index("text")))

    return items[0].root, shards, tables(), skipped


def _captioned(table: pa.Table, skipped: dict[str, int]) -> pa.Table:
    """The pairs with a caption; the others, of a corpus that was embedded without captions, are counted."""
    has = pc.not_equal(pc.utf8_trim_whitespace(pc.fill_null(table["caption"], "")), "")
    if without := table.num_rows - int(pc.sum(has).as_py() or 0):
        skipped["empty_caption"] = skipped.get("empty_caption", 0) + without
    return table.filter(has)


def _rows(sample: Sample, shard: int) -> list[dict[str, Any]]:
    """The pairs of an image, one a caption."""
    known = json.loads(sample.extra)
    row_id = known.get("row_id")
    about = {
        "key": known.get("source_key") or sample.key,
        "shard": shard,
        "offset": sample.offset,
        "size": sample.size,
        "sha256": sample.sha256,
    }
    # A store's row has one text vector, that of its first caption.
    is_row = isinstance(row_id, int) and len(sample.captions) == 1
    return [{**about, "row_id": row_id if is_row else None, "caption": caption} for caption in sample.captions]


def _draw_held_out(table: pa.Table, hold_out: int | None, seed: int) -> npt.NDArray[np.int64]:
    """int64 [n], the rows to hold out, in random order: all pairs of the images that were drawn.

    Raises BadInput when fewer than two pairs or more than half of them are asked for.
    """
    pairs = table.num_rows
    if hold_out is None:
        hold_out = min(int(HELD_OUT_SHARE * pairs), MOST_HELD_OUT)
        hold_out = hold_out if hold_out >= FEWEST_HELD_OUT else 0
    if not hold_out:
        return np.empty(0, np.int64)
    if not 2 <= hold_out <= pairs // 2:
        raise BadInput(f"--hold-out {hold_out}: must be 0, or 2 to half of the {pairs} pairs")
    order = np.random.default_rng((seed, _HOLD_OUT_SEED)).permutation(pairs)
    shard, offset = table["shard"].to_numpy(), table["offset"].to_numpy()
    places = np.stack([shard.astype(np.int64), offset], 1)
    image = np.unique(places, axis=0, return_inverse=True)[1].reshape(-1)
    return order[np.isin(image[order], image[order[:hold_out]])].astype(np.int64)


def _write(
    path: str,
    where: str,
    root: str,
    shards: dict[str, int],
    tables: Iterator[pa.Table],
    skipped: dict[str, int],
    hold_out: int | None,
    seed: int,
) -> None:
    names = [name for name in SCHEMA.names if name != "text"]
    parts = [
        _captioned(table.select(names).cast(pa.schema([SCHEMA.field(name) for name in names])), skipped)
        for table in tables
    ]
    table = pa.concat_tables(parts).combine_chunks()
    lost = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
    if not table.num_rows:
        raise BadInput(f"{where}: has no image-text pairs to learn from" + (f" ({lost})" if lost else ""))
    held = _draw_held_out(table, hold_out, seed)
    # Held-out pairs come last, so that the pairs to train on are a slice; texts are numbered by first appearance.
    table = table.take(pa.array(np.r_[np.delete(np.arange(table.num_rows), held), held])) if len(held) else table
    texts = pc.dictionary_encode(table["caption"]).combine_chunks()
    if len(texts.dictionary) == 1:
        raise BadInput(
            f"{where}: all {table.num_rows} captions are equal ({texts.dictionary[0].as_py()[:60]!r}), so no image "
            "can be told from another by its text; select from captions that differ"
        )
    table = table.append_column("text", texts.indices.cast(pa.int32()))
    about = {"root": root, "shards": list(shards), "left_out": skipped, "held_out": len(held)}
    table = table.replace_schema_metadata({"pairs": json.dumps(about)})
    with atomic_file(path) as partial, pa.ipc.new_file(str(partial), table.schema) as writer:
        writer.write_table(table)
