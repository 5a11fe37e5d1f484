"""Writes the look-up files that `index.store.lookup` reads, item by item; a done one is known by what it was made from.

Knows stores; knows no executor.
"""

from __future__ import annotations

from os import fspath

import pyarrow as pa

from index.files import atomic_file
from index.store.embedding_store import EmbeddingStore
from index.store.lookup import LOOKUP_COLUMNS, MADE_FROM, LookupItem, lookup_file, made_from, open_lookup
from index.store.metadata import METADATA_SCHEMA

__all__ = ["build_lookup", "is_lookup_done"]


def build_lookup(item: LookupItem, path: str) -> int:
    """Write one look-up file of the store at `path`; return its rows. Raises what reading the metadata raises."""
    store = EmbeddingStore.open(path)
    tables = [
        table for part in range(item.first, item.last) for table in store.part_metadata(part, LOOKUP_COLUMNS, 65_536)
    ]
    # Texts of a million rows can be longer than the 2 GiB that 32-bit offsets reach.
    fields = [METADATA_SCHEMA.field(name) for name in LOOKUP_COLUMNS]
    wide = [field.with_type(pa.large_string()) if field.type == pa.string() else field for field in fields]
    schema = pa.schema(wide, {MADE_FROM: made_from(store.manifest, item)})
    table = pa.concat_tables(tables).cast(schema).combine_chunks()
    target = lookup_file(store.path, item)
    target.parent.mkdir(exist_ok=True)
    with atomic_file(target) as partial, pa.OSFile(fspath(partial), "wb") as sink, pa.ipc.new_file(sink, schema) as out:
        for batch in table.to_batches():  # one; none for a table without rows
            out.write_batch(batch)
    return item.rows


def is_lookup_done(item: LookupItem, store: EmbeddingStore) -> bool:
    """Whether the item's file is there and made from the metadata that the store has now."""
    return open_lookup(lookup_file(store.path, item), made_from(store.manifest, item), item.rows) is not None
