"""The members of sets of a store's rows, from the store's metadata, and the ids of such sets."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.files import hash_json
from index.store.embedding_store import EmbeddingStore
from mining.sets.layouts import MEMBERS_SCHEMA

__all__ = ["members_table", "mined_set_ids"]

_METADATA_ROWS = 65_536  # rows whose metadata is read at a time
_METADATA = ["key", "shard", "offset", "size", "url", "caption", "captions", "sha256", "extra"]
_LONGEST_ID = 100  # characters of joined row ids; sets of more rows get a hash of them


def mined_set_ids(source: str, rows: pa.Array | pa.ChunkedArray) -> pa.Array:
    """string [n]: set ids for lists of row ids, list<int64> [n], of the store with that source name.

    The store's identity and the row ids, so that the same set of the same store has the same id in every folder.
    """
    lists = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    words = pa.ListArray.from_arrays(_offsets(lists), lists.flatten().cast(pa.string()))
    joined = pc.binary_join(words, "_")
    if (pc.max(pc.utf8_length(joined)).as_py() or 0) > _LONGEST_ID:
        short = [each if len(each) <= _LONGEST_ID else hash_json(each)[:24] for each in joined.to_pylist()]
        joined = pa.array(short, pa.string())
    return pc.binary_join_element_wise(source.removeprefix("store-")[:8], joined, "-")


def members_table(
    store: EmbeddingStore,
    source: str,
    set_ids: pa.Array | pa.ChunkedArray,
    rows: pa.Array | pa.ChunkedArray,
    captions: pa.Array | pa.ChunkedArray | None = None,
) -> pa.Table:
    """The members of sets of a store's rows as MEMBERS_SCHEMA, from the store's metadata.

    source: the store's source name. set_ids: [n]. rows: list<int64> [n]. captions: list<string> [n], the caption of
    each member that the set's reasons speak of; null (the list, or one caption) for the embedded one.
    """
    lists = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    sizes = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    flat = lists.flatten().to_numpy()
    owners = np.repeat(np.arange(len(lists)), sizes)
    distinct, places = np.unique(flat, return_inverse=True)
    known = [
        _known(store, distinct[first : first + _METADATA_ROWS]) for first in range(0, len(distinct), _METADATA_ROWS)
    ]
    images = pa.concat_tables(known).take(pa.array(places)) if known else _known(store, distinct)
    starts = np.cumsum(sizes) - sizes
    columns: dict[str, Any] = {
        "set_id": set_ids.take(pa.array(owners)),
        "position": pa.array((np.arange(len(flat)) - starts[owners]).astype(np.int32)),
        "source": pa.array([source]).take(pa.array(np.zeros(len(flat), np.int64))),
        "row_id": pa.array(flat),
        **{name: images[name] for name in ("key", "shard", "offset", "url", "captions", "sha256", "extra")},
        "bytes": images["size"],
        "path": pa.nulls(len(flat), pa.string()),
        "caption": pc.coalesce(_by_member(captions, sizes), images["caption"]),
    }
    return pa.table({name: columns[name] for name in MEMBERS_SCHEMA.names}).cast(MEMBERS_SCHEMA)


def _by_member(captions: pa.Array | pa.ChunkedArray | None, sizes: npt.NDArray[np.int64]) -> pa.Array:
    """string [m]: the captions of all members, in order; null where a set has none."""
    if captions is None:
        return pa.nulls(int(sizes.sum()), pa.string())
    found: list[str | None] = []
    for own, size in zip(captions.to_pylist(), sizes.tolist(), strict=True):
        found += own if own is not None and len(own) == size else [None] * size
    return pa.array(found, pa.string())


def _known(store: EmbeddingStore, rows: npt.NDArray[np.int64]) -> pa.Table:
    table = store.metadata(rows, _METADATA)
    extra = [None if text is None else _valid_json(text) for text in table["extra"].to_pylist()]
    return table.set_column(table.column_names.index("extra"), "extra", pa.array(extra, pa.string()))


def _valid_json(text: str) -> str:
    """`text` with null instead of NaN and the infinities, which JSON lacks."""
    if "NaN" in text or "Infinity" in text:
        return json.dumps(json.loads(text, parse_constant=lambda name: None), ensure_ascii=False)
    return text


def _offsets(lists: pa.ListArray) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
