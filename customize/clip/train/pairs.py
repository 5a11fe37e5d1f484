"""The pairs of a run: where each image lies and what its text is, one row a pair, in a file that workers map.

    OUT/work/pairs.arrow    row_id, key, shard, offset, size, sha256, caption, text

`text` numbers the distinct captions, so texts are compared by number and never by float. Images stay where they are:
a row is read by one ranged read. Written once, so ten million pairs cost no memory. Knows no models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.corpus.samples import Sample
from index.corpus.sources import list_items, read_item
from index.errors import BadInput, ImagesNotLocal, StoreInvalid
from index.files import atomic_file, exists, join_inside, local_path, read_bytes_range
from index.store.embedding_store import EmbeddingStore
from retrieval.selection import Selection, distinct_rows

__all__ = ["Pairs", "gather_pairs"]

SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),  # in the store; null where there is none
        ("key", pa.string()),
        ("shard", pa.int32()),  # into the names in the schema's metadata
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("caption", pa.string()),
        ("text", pa.int32()),
    ]
)
_CHUNK = 65_536


@dataclass(frozen=True)
class Pairs:
    """Pairs on disk, memory-mapped; `root` is the folder or URL that shards are relative to."""

    path: str
    table: pa.Table
    root: str
    shards: tuple[str, ...]
    left_out: Mapping[str, int]  # by reason

    @classmethod
    def open(cls, path: str) -> Pairs:
        """Open what `gather_pairs` wrote."""
        table = pa.ipc.open_file(pa.memory_map(str(local_path(path)))).read_all()
        about = json.loads(table.schema.metadata[b"pairs"])
        return cls(path, table, about["root"], tuple(about["shards"]), about["left_out"])

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def shard_of(self) -> npt.NDArray[np.int32]:
        """int32 [n], the shard's number of each row."""
        numbers: npt.NDArray[np.int32] = self.table["shard"].to_numpy()
        return numbers

    @cached_property
    def text_of(self) -> npt.NDArray[np.int32]:
        """int32 [n], the number of each row's caption among the distinct ones, in order of first appearance."""
        numbers: npt.NDArray[np.int32] = self.table["text"].to_numpy()
        return numbers

    @cached_property
    def row_ids(self) -> npt.NDArray[np.int64] | None:
        """int64 [n], rows in the store; None when any pair has none."""
        column = self.table["row_id"]
        return None if column.null_count else column.to_numpy()

    def keys(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
        keys: list[str] = self.table["key"].take(pa.array(rows)).to_pylist()
        return keys

    def captions(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> list[str]:
        captions: list[str] = self.table["caption"].take(pa.array(rows)).to_pylist()
        return captions

    def distinct_captions(self) -> list[str]:
        """Each caption once, by its number."""
        first = np.unique(self.text_of, return_index=True)[1]
        return self.captions(first)

    def image(self, row: int) -> bytes:
        """The encoded bytes of a row's image.

        Raises ImagesNotLocal when its file is gone, StoreInvalid when it no longer holds these bytes.
        """
        place = self.table.slice(row, 1).select(["shard", "offset", "size", "sha256", "key"]).to_pylist()[0]
        path = join_inside(self.root, self.shards[place["shard"]])
        try:
            data = read_bytes_range(path, place["offset"], place["size"])
        except FileNotFoundError as error:
            raise ImagesNotLocal(f"{path}: is gone; put the corpus back under {self.root} and run again") from error
        if len(data) != place["size"] or (place["sha256"] and hashlib.sha256(data).hexdigest() != place["sha256"]):
            raise StoreInvalid(
                f"{path}: no longer holds the image of {place['key']}; the corpus changed, embed it again"
            )
        return data


def gather_pairs(path: str, *, selection: Selection | None, store: EmbeddingStore | None, tars: str | None) -> Pairs:
    """Write the pairs of a selection (with its `store`), or of `tars`, to `path`, unless they are there already.

    Raises:
        BadInput: no pairs at all, or all captions are equal, so that nothing can be told apart.
        ImagesNotLocal: the store has embeddings and no images.
    """
    if not exists(path):
        if selection is not None:
            assert store is not None
            if not selection.rows:
                raise BadInput(
                    f"{selection.path}: selected no rows, so there is nothing to learn from; loosen its rules"
                )
            root, shards, tables, left_out = _of_selection(selection, store)
            where = selection.path
        else:
            root, shards, tables, left_out = _of_tars(str(tars))
            where = str(tars)
        _write(path, where, root, shards, tables, left_out)
    return Pairs.open(path)


Rows = tuple[str, dict[str, int], Iterator[pa.Table], dict[str, int]]


def _of_selection(selection: Selection, store: EmbeddingStore) -> Rows:
    if store.corpus_root is None:
        raise ImagesNotLocal(
            f"{selection.path}: its store has embeddings and no images; download what was selected with `clipmine "
            "fetch`, export it, and customize on those tars (--tars)"
        )
    shards: dict[str, int] = {}
    left_out: dict[str, int] = {}
    ids = distinct_rows(selection.table(["row_id", "key", "concept", "rank"]))

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
                    left_out[reason] = left_out.get(reason, 0) + count
            same = pc.fill_null(pc.equal(own["key"], asked["key"]), True)
            if not pc.all(same).as_py():
                wrong = own["key"].filter(pc.invert(same))[0].as_py()
                raise StoreInvalid(f"{store.path}: has {wrong!r} where the selection has another key; another store")
            own = own.append_column("row_id", pa.array(row_ids)).filter(known)
            numbers = [shards.setdefault(name, len(shards)) for name in own["shard"].to_pylist()]
            yield own.set_column(own.schema.get_field_index("shard"), "shard", pa.array(numbers, pa.int32()))

    return store.corpus_root, shards, tables(), left_out


def _of_tars(tars: str) -> Rows:
    items = list_items(tars)
    shards: dict[str, int] = {}
    left_out: dict[str, int] = {}

    def tables() -> Iterator[pa.Table]:
        for item in items:
            rows: list[dict[str, Any]] = []
            for sample in read_item(item):
                if isinstance(sample, Sample):
                    rows.append(_row(sample, shards.setdefault(sample.shard, len(shards))))
                else:
                    left_out[sample.reason] = left_out.get(sample.reason, 0) + 1
            yield pa.Table.from_pylist(rows, SCHEMA.remove(SCHEMA.get_field_index("text")))

    return items[0].root, shards, tables(), left_out


def _row(sample: Sample, shard: int) -> dict[str, Any]:
    known = json.loads(sample.extra)
    row_id = known.get("row_id")
    return {
        "row_id": row_id if isinstance(row_id, int) else None,
        "key": known.get("source_key") or sample.key,
        "shard": shard,
        "offset": sample.offset,
        "size": sample.size,
        "sha256": sample.sha256,
        "caption": sample.caption,
    }


def _write(
    path: str, where: str, root: str, shards: dict[str, int], tables: Iterator[pa.Table], left_out: dict[str, int]
) -> None:
    names = [name for name in SCHEMA.names if name != "text"]
    parts = [table.select(names).cast(pa.schema([SCHEMA.field(name) for name in names])) for table in tables]
    table = pa.concat_tables(parts).combine_chunks()
    lost = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
    if not table.num_rows:
        raise BadInput(f"{where}: has no image-text pairs to learn from" + (f" ({lost})" if lost else ""))
    texts = pc.dictionary_encode(table["caption"]).combine_chunks()
    if len(texts.dictionary) == 1:
        raise BadInput(
            f"{where}: all {table.num_rows} captions are equal ({texts.dictionary[0].as_py()[:60]!r}), so no image "
            "can be told from another by its text; select from captions that differ"
        )
    table = table.append_column("text", texts.indices.cast(pa.int32()))
    about = {"root": root, "shards": list(shards), "left_out": left_out}
    table = table.replace_schema_metadata({"pairs": json.dumps(about)})
    with atomic_file(path) as partial, pa.ipc.new_file(str(partial), table.schema) as writer:
        writer.write_table(table)
